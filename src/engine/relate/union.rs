//! Union rules: alerts that share the value of any of some labels belong together.

use crate::engine::journal::{Fault, Part, Reader, Writer};
use crate::engine::memory::interner::Interner;

/// Which group a value leads to.
#[derive(Debug, Default)]
pub(in crate::engine) struct Unions {}

impl Part for Unions {
    const TAG: u8 = 12;

    fn write_changes(&mut self, _names: &Interner, _writer: &mut Writer) {}

    fn write_slice(&self, _names: &Interner, _from: u32, _writer: &mut Writer) -> Option<u32> {
        None
    }

    fn restore(&mut self, _names: &mut Interner, _reader: &mut Reader<'_>) -> Result<(), Fault> {
        Ok(())
    }
}
