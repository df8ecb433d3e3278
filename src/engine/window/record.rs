//! Windows in the journal: whole, and as what was done to them since the last commit.
//!
//! What was done is numbered, so that nothing is done twice where a snapshot holds it already; a record that does not
//! follow on what is known is passed over, because the whole window comes later.

use super::sketch::{RANK_MAX, REGISTERS, Sketch};
use super::slices::Slice;
use super::steps::{Chains, Steps};
use super::{Content, Counted, Done, Entry, FEW, Few, Reach, Shape, Slices, Span, Wait, Waits, Window};
use crate::engine::journal::{Fault, Reader, Writer};
use crate::rules::STEPS_MAX;

impl Span {
    /// The whole window.
    pub(in crate::engine) fn write(&self, writer: &mut Writer) {
        writer.byte(u8::from(self.0.is_some()));
        let Some(window) = self.0.as_deref() else { return };
        write_shape(writer, window.shape);
        writer.number(window.done);
        writer.time(window.cleared_at);
        match &window.content {
            Content::Few(few) => write_entries(writer, few.len(), few.entries().iter()),
            Content::Counted(counted) => write_entries(writer, counted.len(), counted.entries()),
            Content::Slices(slices) => write_slices(writer, slices),
            Content::Steps(steps) => {
                write_entries(writer, steps.len(), steps.entries.iter());
                steps.settled.iter().for_each(|begun| write_begun(writer, *begun));
            }
            Content::Waits(waits) => write_waits(writer, waits),
        }
    }

    pub(in crate::engine) fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        if !reader.flag()? {
            return Ok(Self(None));
        }
        let shape = read_shape(reader)?;
        let mut window = Window::new(shape);
        (window.done, window.cleared_at) = (reader.tally()?, reader.time()?);
        window.content = match shape {
            Shape::Exact(reach) => exact(reader, reach)?,
            Shape::Estimated(reach) => Content::Slices(Box::new(read_slices(reader, reach)?)),
            Shape::Steps { .. } => {
                let entries = read_entries(reader)?;
                let mut settled = Chains::default();
                for begun in &mut settled {
                    *begun = if reader.flag()? { Some((reader.time()?, reader.wide()?)) } else { None };
                }
                Content::Steps(Box::new(Steps { entries, settled }))
            }
            Shape::Waits => Content::Waits(read_waits(reader)?),
        };
        Ok(Self(Some(Box::new(window))))
    }

    /// Whether what was done is not enough to tell what the window is.
    pub(in crate::engine) fn must_be_rewritten(&self) -> bool {
        self.0.as_deref().is_some_and(|window| window.rewrite)
    }

    /// What was done since the last commit; nothing where nothing was.
    pub(in crate::engine) fn has_news(&self) -> bool {
        self.0.as_deref().is_some_and(|window| !window.fresh.is_empty())
    }

    pub(in crate::engine) fn write_news(&self, writer: &mut Writer) {
        let Some(window) = self.0.as_deref() else { return };
        write_shape(writer, window.shape);
        writer.number(window.done - window.fresh.len() as u64);
        writer.number(window.fresh.len() as u64);
        for done in &window.fresh {
            match done {
                Done::Added(entry) => {
                    writer.byte(0);
                    write_entry(writer, entry);
                }
                Done::Pruned(at) => {
                    writer.byte(1);
                    writer.time(*at);
                }
                Done::Cleared(at) => {
                    writer.byte(2);
                    writer.time(*at);
                }
            }
        }
    }

    /// It is in the journal.
    pub(in crate::engine) fn forget_news(&mut self) {
        if let Some(window) = self.0.as_deref_mut() {
            (window.fresh, window.rewrite) = (Vec::new(), false);
        }
    }

    /// Does again what was done; `None` where the group is gone.
    pub(in crate::engine) fn read_news(reader: &mut Reader<'_>, span: Option<&mut Self>) -> Result<(), Fault> {
        let shape = read_shape(reader)?;
        let from = reader.tally()?;
        let mut window = span.map(|span| span.window(shape)).filter(|window| window.done >= from);
        for number in from..from + reader.count()? as u64 {
            let done = match reader.byte()? {
                0 => Done::Added(read_entry(reader)?),
                1 => Done::Pruned(reader.time()?),
                2 => Done::Cleared(reader.time()?),
                _ => return Err(reader.fault("unknown change of a window")),
            };
            if let Some(window) = window.as_deref_mut().filter(|window| window.done == number) {
                window.redo(done);
            }
        }
        if let Some(window) = window {
            (window.fresh, window.rewrite) = (Vec::new(), false);
        }
        Ok(())
    }
}

impl Window {
    fn redo(&mut self, done: Done) {
        self.done += 1;
        match done {
            Done::Added(entry) => {
                self.content.insert(self.shape, entry);
            }
            Done::Pruned(before) => {
                self.content.prune(before);
            }
            Done::Cleared(at) => {
                self.cleared_at = self.cleared_at.max(at);
                self.content.clear_until(at);
            }
        }
    }
}

fn write_shape(writer: &mut Writer, shape: Shape) {
    let (kind, first, second) = match shape {
        Shape::Exact(Reach::Sliding(span)) => (0, span, 0),
        Shape::Exact(Reach::Session { gap, span }) => (1, gap, span),
        Shape::Exact(Reach::Tumbling(span)) => (2, span, 0),
        Shape::Estimated(Reach::Sliding(span) | Reach::Session { span, .. }) => (3, span, 0),
        Shape::Estimated(Reach::Tumbling(span)) => (4, span, 0),
        Shape::Steps { span, steps } => (5, span, i64::from(steps)),
        Shape::Waits => (6, 0, 0),
    };
    writer.byte(kind);
    writer.signed(first);
    writer.signed(second);
}

fn read_shape(reader: &mut Reader<'_>) -> Result<Shape, Fault> {
    let (kind, first, second) = (reader.byte()?, reader.signed()?.max(1), reader.signed()?);
    match kind {
        0 => Ok(Shape::Exact(Reach::Sliding(first))),
        1 => Ok(Shape::Exact(Reach::Session { gap: first, span: second.max(1) })),
        2 => Ok(Shape::Exact(Reach::Tumbling(first))),
        3 => Ok(Shape::Estimated(Reach::Sliding(first))),
        4 => Ok(Shape::Estimated(Reach::Tumbling(first))),
        5 if (1..=STEPS_MAX as i64).contains(&second) => Ok(Shape::Steps { span: first, steps: second as u8 }),
        6 => Ok(Shape::Waits),
        _ => Err(reader.fault("unknown kind of window")),
    }
}

fn write_entry(writer: &mut Writer, entry: &Entry) {
    writer.time(entry.at);
    writer.fixed(entry.item);
    writer.wide(entry.event);
}

fn read_entry(reader: &mut Reader<'_>) -> Result<Entry, Fault> {
    Ok(Entry { at: reader.time()?, item: reader.fixed()?, event: reader.wide()? })
}

fn write_entries<'a>(writer: &mut Writer, count: usize, entries: impl Iterator<Item = &'a Entry>) {
    writer.number(count as u64);
    entries.for_each(|entry| write_entry(writer, entry));
}

fn read_entries(reader: &mut Reader<'_>) -> Result<Vec<Entry>, Fault> {
    let mut entries: Vec<Entry> = Vec::new();
    for _ in 0..reader.count()? {
        let entry = read_entry(reader)?;
        if entries.last().is_some_and(|last| last.order() >= entry.order()) {
            return Err(reader.fault("entries out of order"));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn exact(reader: &mut Reader<'_>, reach: Reach) -> Result<Content, Fault> {
    let entries = read_entries(reader)?;
    Ok(match entries.len() {
        0..=FEW => Content::Few(Few::of(entries)),
        _ => Content::Counted(Box::new(Counted::build(&entries, reach))),
    })
}

fn write_begun(writer: &mut Writer, begun: super::steps::Begun) {
    writer.byte(u8::from(begun.is_some()));
    if let Some((at, event)) = begun {
        writer.time(at);
        writer.wide(event);
    }
}

fn write_slices(writer: &mut Writer, slices: &Slices) {
    writer.number(slices.all().len() as u64);
    for slice in slices.all() {
        writer.signed(slice.number);
        write_entry(writer, &slice.first);
        let mut count = 0;
        slice.sketch.each(|_, _| count += 1);
        writer.number(count);
        slice.sketch.each(|index, rank| {
            writer.number(index as u64);
            writer.byte(rank);
        });
    }
}

fn read_slices(reader: &mut Reader<'_>, reach: Reach) -> Result<Slices, Fault> {
    let mut slices = Slices::new(reach);
    for _ in 0..reader.count()? {
        let (number, first) = (reader.signed()?, read_entry(reader)?);
        let mut sketch = Sketch::default();
        for _ in 0..reader.count()? {
            let (index, rank) = (reader.number()? as usize, reader.byte()?);
            if index >= REGISTERS || rank > RANK_MAX {
                return Err(reader.fault("no register of a sketch"));
            }
            sketch.raise(index, rank);
        }
        if !slices.restore(Slice { number, first, sketch }) {
            return Err(reader.fault("slices out of order"));
        }
    }
    slices.finish_restore();
    Ok(slices)
}

fn write_waits(writer: &mut Writer, waits: &Waits) {
    writer.number(waits.waits.len() as u64);
    for wait in &waits.waits {
        [wait.at, wait.from, wait.until, wait.due].into_iter().for_each(|at| writer.time(at));
        writer.wide(wait.event);
        writer.number(u64::from(wait.slot));
        writer.byte(u8::from(wait.missed));
    }
    writer.number(waits.answers.len() as u64);
    waits.answers.iter().for_each(|at| writer.time(*at));
    writer.number(waits.settled.len() as u64);
    for (at, event) in &waits.settled {
        writer.time(*at);
        writer.wide(*event);
    }
}

fn read_waits(reader: &mut Reader<'_>) -> Result<Waits, Fault> {
    let mut waits = Waits::default();
    for _ in 0..reader.count()? {
        let (at, from, until, due) = (reader.time()?, reader.time()?, reader.time()?, reader.time()?);
        let (event, slot, missed) = (reader.wide()?, reader.slot()?, reader.flag()?);
        waits.waits.push(Wait { at, event, from, until, due, slot, missed });
    }
    for _ in 0..reader.count()? {
        waits.answers.push(reader.time()?);
    }
    for _ in 0..reader.count()? {
        waits.settled.push((reader.time()?, reader.wide()?));
    }
    Ok(waits)
}
