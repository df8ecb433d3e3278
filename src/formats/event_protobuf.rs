//! Our event as protobuf, walked by hand: a `PushRequest`, or a single `Event` from Kafka.
//!
//! Texts stay where they were received. Unknown fields are skipped; of a scalar that comes twice the last counts.
//! A broken event inside an intact request is rejected alone.

use std::ops::Range;

use crate::event::{Code, Kind, Pairs, Reject, Severity, Status, Text, Timestamp, pointer};

use super::intake::Intake;
use super::wire::{Field, Malformed, Payload as Wire, Utf8, Walk, usual_entry, usual_time};
use super::{Payload, Shape};

const LABELS: u32 = 7;
const ANNOTATIONS: u32 = 8;
const LINKS: u32 = 12;

/// Reads a payload; see [`Shape`].
pub(super) fn decode(bytes: &[u8], payload: &Payload, intake: &mut Intake<'_>) -> Result<(), Reject> {
    let mut utf8 = Utf8::new(bytes);
    match payload.shape {
        Shape::One if payload.span.is_empty() => Err(intake.empty()),
        Shape::One if payload.span.len() > intake.limits.event_bytes.as_usize() => {
            Err(intake.too_large(payload.span.len()))
        }
        Shape::One => event(bytes, payload.span.clone(), &mut utf8, intake),
        Shape::Many | Shape::Lines => request(bytes, payload.span.clone(), &mut utf8, intake),
    }
}

fn request<'a>(
    bytes: &'a [u8],
    span: Range<usize>,
    utf8: &mut Utf8<'a>,
    intake: &mut Intake<'_>,
) -> Result<(), Reject> {
    let mut walk = Walk::new(bytes, span);
    loop {
        let field = walk.next().map_err(|malformed| intake.refuse(Code::Schema, malformed_message(&malformed)))?;
        match field {
            None => return Ok(()),
            Some(Field { number: 1, payload: Wire::Bytes(span) }) => event(bytes, span, utf8, intake)?,
            Some(Field { number: 1, payload }) => {
                return Err(intake.refuse(Code::Schema, wire_type_message(1, &payload, "no PushRequest")));
            }
            Some(_) => {}
        }
    }
}

fn event<'a>(bytes: &'a [u8], span: Range<usize>, utf8: &mut Utf8<'a>, intake: &mut Intake<'_>) -> Result<(), Reject> {
    intake.begin()?;
    let len = span.len();
    let mut reading = Reading { bytes, utf8, intake, run: Run::default() };
    let outcome = match reading.recall(&span) {
        Some(outcome) => outcome,
        None => reading.event(span),
    };
    if let Err(reject) = outcome {
        intake.note(reject);
    }
    intake.finish(len);
    Ok(())
}

/// Pairs of one field that follow one another in the batch, as a [`Pairs`] must.
#[derive(Default)]
struct Run {
    /// The field whose pairs are being appended, 0 before the first.
    number: u32,
    mark: usize,
    /// The fields whose runs have ended, one bit each.
    ended: u32,
    /// A field went on after its run had ended.
    torn: bool,
}

struct Reading<'a, 'b, 'i> {
    bytes: &'a [u8],
    utf8: &'b mut Utf8<'a>,
    intake: &'b mut Intake<'i>,
    run: Run,
}

impl Reading<'_, '_, '_> {
    /// Reads an event whose bytes came before: only what differs between repeats. `None` for any other.
    fn recall(&mut self, span: &Range<usize>) -> Option<Result<(), Reject>> {
        let Intake { memo, batch, event, .. } = &mut *self.intake;
        let memo = memo.as_deref_mut()?;
        let found = memo.find(&self.bytes[span.clone()], span.start, event.index)?;
        memo.fill(&found, span.start, event, batch);
        Some(found.fit.fields(span.start).try_for_each(|field| self.hole(&field)))
    }

    #[inline]
    fn hole(&mut self, field: &Field) -> Result<(), Reject> {
        match (field.number, &field.payload) {
            // Looking for ASCII from here on would go over all that need not be read.
            (1, Wire::Bytes(span)) if simdutf8::basic::from_utf8(&self.bytes[span.clone()]).is_ok() => {
                self.intake.event.id = Text::in_buffer(span.start, span.len());
            }
            (10, Wire::Bytes(span)) => self.intake.event.occurred_at = Some(self.time(span, b"occurred_at")?),
            _ => return self.field(field),
        }
        Ok(())
    }

    fn event(&mut self, span: Range<usize>) -> Result<(), Reject> {
        let mark = self.intake.batch.mark();
        self.walk(span.clone(), |_| true)?;
        if !self.run.torn {
            return Ok(());
        }
        // Rare, and allowed: entries of labels, annotations and links in turns. Gather each by itself.
        self.intake.batch.truncate_pairs(mark);
        for wanted in [LABELS, ANNOTATIONS, LINKS] {
            self.run = Run::default();
            self.walk(span.clone(), |number| number == wanted)?;
        }
        Ok(())
    }

    fn walk(&mut self, span: Range<usize>, wanted: impl Fn(u32) -> bool) -> Result<(), Reject> {
        let mut walk = Walk::new(self.bytes, span);
        while let Some(field) = walk.next().map_err(|malformed| self.malformed(&[], &malformed))? {
            if wanted(field.number) {
                self.field(&field)?;
            }
        }
        self.end_run();
        Ok(())
    }

    fn field(&mut self, field: &Field) -> Result<(), Reject> {
        match (field.number, &field.payload) {
            (1, Wire::Bytes(span)) => self.intake.event.id = self.text(span, &[b"id"])?,
            (2, Wire::Bytes(span)) => self.intake.event.source = self.text(span, &[b"source"])?,
            (3, Wire::Varint(value)) => self.intake.event.kind = self.name_of(*value, b"kind", &KINDS, Kind::NAMES)?,
            (4, Wire::Varint(value)) => {
                self.intake.event.status = self.name_of(*value, b"status", &STATUSES, Status::NAMES)?;
            }
            (5, Wire::Varint(value)) => {
                self.intake.event.severity = self.name_of(*value, b"severity", &SEVERITIES, Severity::NAMES)?;
            }
            (6, Wire::Bytes(span)) => self.intake.event.summary = self.text(span, &[b"summary"])?,
            (number @ (LABELS | ANNOTATIONS | LINKS), Wire::Bytes(span)) => self.pair(number, span)?,
            (9, Wire::Bytes(span)) => self.intake.event.dedup_key = self.text(span, &[b"dedup_key"])?,
            (10, Wire::Bytes(span)) => self.intake.event.occurred_at = Some(self.time(span, b"occurred_at")?),
            (11, Wire::Bytes(span)) => self.intake.event.ends_at = Some(self.time(span, b"ends_at")?),
            (1..=12, payload) => return Err(self.wrong_wire_type(&[], field.number, payload)),
            _ => {}
        }
        Ok(())
    }

    /// Reads a map entry or a link: both have the name in field 1 and the value in field 2.
    fn pair(&mut self, number: u32, span: &Range<usize>) -> Result<(), Reject> {
        let parent: &[u8] = match number {
            LABELS => b"labels",
            ANNOTATIONS => b"annotations",
            _ => b"links",
        };
        let (name, value) = match usual_entry(self.bytes, span) {
            Some(entry) => entry,
            None => self.entry(parent, span)?,
        };
        if number == LINKS && value.is_empty() {
            let place = if self.run.number == LINKS { self.intake.batch.pairs_since(self.run.mark).len() } else { 0 };
            let place = place.to_string();
            let message = "a link needs an address".into();
            return Err(self.reject(Code::Missing, &[parent, place.as_bytes(), b"href"], message));
        }
        let name_text = self.text(&name, &[parent])?;
        let value = self.text(&value, &[parent, &self.bytes[name]])?;
        if self.run.number != number {
            self.end_run();
            self.run.torn |= self.run.ended & 1 << number != 0;
            (self.run.number, self.run.mark) = (number, self.intake.batch.mark());
        }
        self.intake.push_pair(self.run.mark, name_text, value);
        Ok(())
    }

    /// Reads a map entry in whatever form it is allowed to have; what is missing is empty.
    fn entry(&self, parent: &[u8], span: &Range<usize>) -> Result<(Range<usize>, Range<usize>), Reject> {
        let (mut name, mut value) = (span.start..span.start, span.start..span.start);
        let mut walk = Walk::new(self.bytes, span.clone());
        while let Some(field) = walk.next().map_err(|malformed| self.malformed(&[parent], &malformed))? {
            match (field.number, field.payload) {
                (1, Wire::Bytes(span)) => name = span,
                (2, Wire::Bytes(span)) => value = span,
                (number @ (1 | 2), payload) => return Err(self.wrong_wire_type(&[parent], number, &payload)),
                _ => {}
            }
        }
        Ok((name, value))
    }

    fn end_run(&mut self) {
        let pairs: Pairs = self.intake.batch.pairs_since(self.run.mark);
        match self.run.number {
            LABELS => self.intake.event.labels = pairs,
            ANNOTATIONS => self.intake.event.annotations = pairs,
            LINKS => self.intake.event.links = pairs,
            _ => {}
        }
        self.run.ended |= 1 << self.run.number;
    }

    #[inline]
    fn text(&mut self, span: &Range<usize>, place: &[&[u8]]) -> Result<Text, Reject> {
        if !self.utf8.holds(span) {
            let at = std::str::from_utf8(&self.bytes[span.clone()]).map_or_else(|error| error.valid_up_to(), str::len);
            return Err(self.reject(
                Code::Utf8,
                place,
                format!("at byte {at} of the text: protobuf strings are UTF-8"),
            ));
        }
        Ok(Text::in_buffer(span.start, span.len()))
    }

    fn time(&mut self, span: &Range<usize>, name: &'static [u8]) -> Result<Timestamp, Reject> {
        let (seconds, nanos) = match usual_time(self.bytes, span) {
            Some((seconds, nanos)) => (seconds as i64, nanos as i64),
            None => self.seconds_and_nanos(span, name)?,
        };
        match i32::try_from(nanos) {
            Ok(nanos @ 0..1_000_000_000) if SECONDS.contains(&seconds) => Ok(Timestamp::from_parts(seconds, nanos)),
            _ => {
                let message = format!(
                    "a time between the years 1 and 9999 with 0 to 999999999 nanoseconds required, \
                     not {seconds} s and {nanos} ns after 1970"
                );
                Err(self.reject(Code::Time, &[name], message))
            }
        }
    }

    /// Reads a time in whatever form it is allowed to have; what is missing is zero.
    fn seconds_and_nanos(&self, span: &Range<usize>, name: &'static [u8]) -> Result<(i64, i64), Reject> {
        let (mut seconds, mut nanos) = (0, 0);
        let mut walk = Walk::new(self.bytes, span.clone());
        while let Some(field) = walk.next().map_err(|malformed| self.malformed(&[name], &malformed))? {
            match (field.number, field.payload) {
                (1, Wire::Varint(value)) => seconds = value as i64,
                (2, Wire::Varint(value)) => nanos = value as i64,
                (number @ (1 | 2), payload) => return Err(self.wrong_wire_type(&[name], number, &payload)),
                _ => {}
            }
        }
        Ok((seconds, nanos))
    }

    fn name_of<T: Copy>(&self, value: u64, field: &[u8], values: &[T], names: &[&str]) -> Result<T, Reject> {
        let known = usize::try_from(value).ok().and_then(|at| values.get(at)).copied();
        let message = || format!("one of {} (1 to {}) required, not {}", names.join(", "), names.len(), value as i64);
        known.ok_or_else(|| self.reject(Code::Enum, &[field], message()))
    }

    fn reject(&self, code: Code, place: &[&[u8]], message: String) -> Reject {
        Reject::new(self.intake.event.index, code, pointer(place), message)
    }

    fn malformed(&self, place: &[&[u8]], malformed: &Malformed) -> Reject {
        self.reject(Code::Schema, place, malformed_message(malformed))
    }

    fn wrong_wire_type(&self, place: &[&[u8]], number: u32, payload: &Wire) -> Reject {
        self.reject(Code::Schema, place, wire_type_message(number, payload, "another message"))
    }
}

/// What `google.protobuf.Timestamp` allows.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

// By number in the schema; 0 is "unspecified".
const KINDS: [Kind; 4] = [Kind::Alert, Kind::Alert, Kind::Change, Kind::Heartbeat];
const STATUSES: [Status; 3] = [Status::Firing, Status::Firing, Status::Resolved];
const SEVERITIES: [Severity; 5] =
    [Severity::Warning, Severity::Critical, Severity::Error, Severity::Warning, Severity::Info];

fn malformed_message(malformed: &Malformed) -> String {
    let Malformed { field, problem } = malformed;
    match field {
        Some((number, wire_type)) => format!("field {number} wire type {wire_type}: {problem}"),
        None => format!("not a protobuf message: {problem}"),
    }
}

fn wire_type_message(number: u32, payload: &Wire, suspicion: &str) -> String {
    format!("field {number} wire type {}: not of our schema, {suspicion}?", payload.wire_type())
}
