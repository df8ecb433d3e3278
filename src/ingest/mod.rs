//! Edges in (being written).
mod codec;
pub use codec::RawCodec;
