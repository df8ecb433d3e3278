//! Our event as JSON: one object, an array of them, or one on each line.
//!
//! Names are those of the public contract. An unknown field is refused, so that a misspelt one is not lost in
//! silence; `null` is the same as leaving a field out.

use crate::event::{Code, Kind, Reject, Severity, Status, echo, nearest};

use super::fields::{Fields, Stop, utf8_error, utf8_message};
use super::intake::Intake;
use super::json::{Syntax, Value};
use super::{Payload, Shape};

const FIELDS: [&str; 12] = [
    "id",
    "source",
    "kind",
    "status",
    "severity",
    "summary",
    "labels",
    "annotations",
    "dedup_key",
    "occurred_at",
    "ends_at",
    "links",
];
const LINK_FIELDS: [&str; 2] = ["rel", "href"];

/// Reads a payload; see [`Shape`].
pub(super) fn decode(bytes: &[u8], payload: &Payload, intake: &mut Intake<'_>) -> Result<(), Reject> {
    if payload.shape == Shape::One && payload.span.len() > intake.limits.event_bytes.as_usize() {
        return Err(intake.too_large(payload.span.len()));
    }
    let utf8_error = utf8_error(&bytes[payload.span.start..]);
    if payload.shape == Shape::Lines {
        return lines(bytes, payload, intake, utf8_error.is_some());
    }
    if let Some(at) = utf8_error {
        return Err(intake.refuse(Code::Utf8, utf8_message(at)));
    }
    let mut fields = Fields::new(bytes, payload.span.start, intake);
    match document(&mut fields, payload.shape) {
        Ok(()) if payload.shape == Shape::Many && fields.reader.peek() == Some(b'{') => {
            intake.roll_back();
            lines(bytes, payload, intake, false)
        }
        Ok(()) => fields.reader.end().map_err(|syntax| fields.refuse(syntax.into())),
        Err(stop) => Err(fields.refuse(stop)),
    }
}

fn document(fields: &mut Fields<'_, '_, '_>, shape: Shape) -> Result<(), Stop> {
    match (fields.reader.peek(), shape) {
        (None, _) => Err(fields.intake.empty().into()),
        (Some(b'{'), _) => fields.event(&read_event),
        (Some(b'['), Shape::Many) => fields.events(&read_event),
        (Some(_), Shape::One) => Err(fields.wrong_shape("one object")),
        (Some(_), _) => Err(fields.wrong_shape("an object, an array of objects or NDJSON")),
    }
}

/// Reads one event per line; blank lines are none.
fn lines(bytes: &[u8], payload: &Payload, intake: &mut Intake<'_>, check_utf8: bool) -> Result<(), Reject> {
    let mut start = payload.span.start;
    let mut line_count = 0;
    while start < bytes.len() {
        let end = memchr::memchr(b'\n', &bytes[start..]).map_or(bytes.len(), |len| start + len);
        if !bytes[start..end].trim_ascii().is_empty() {
            intake.begin()?;
            let utf8_error = if check_utf8 { utf8_error(&bytes[start..end]) } else { None };
            match utf8_error {
                Some(at) => intake.overriding_fault(Code::Utf8, utf8_message(start + at - payload.span.start)),
                None => line(Fields::new(&bytes[..end], start, intake).after_lines(line_count)),
            }
            intake.finish(end - start);
        }
        start = end + 1;
        line_count += 1;
    }
    if intake.decoded().events == 0 { Err(intake.empty()) } else { Ok(()) }
}

fn line(mut fields: Fields<'_, '_, '_>) {
    if let Err(syntax) = fields.body(&read_event).and_then(|()| fields.reader.end()) {
        let (code, message) = fields.describe(&syntax);
        fields.intake.overriding_fault(code, message);
    }
}

fn read_event(fields: &mut Fields<'_, '_, '_>) -> Result<(), Box<Syntax>> {
    let mut seen = 0_u16;
    while let Some(key) = fields.reader.next_key()? {
        let name = fields.reader.key(key);
        let Some(at) = FIELDS.iter().position(|field| field.as_bytes() == &*name) else {
            unknown_field(fields, &[&name], &FIELDS)?;
            continue;
        };
        let field = FIELDS[at];
        if seen & 1 << at != 0 {
            duplicate_key(fields, &[field.as_bytes()]);
        }
        seen |= 1 << at;
        read_field(fields, field)?;
    }
    Ok(())
}

fn read_field(fields: &mut Fields<'_, '_, '_>, field: &str) -> Result<(), Box<Syntax>> {
    let place: &[&[u8]] = &[field.as_bytes()];
    match field {
        "id" => fields.intake.event.id = fields.optional_string(place)?,
        "source" => fields.intake.event.source = fields.optional_string(place)?,
        "kind" => fields.intake.event.kind = fields.name_of(place, Kind::NAMES, Kind::parse)?,
        "status" => fields.intake.event.status = fields.name_of(place, Status::NAMES, Status::parse)?,
        "severity" => fields.intake.event.severity = fields.name_of(place, Severity::NAMES, Severity::parse)?,
        "summary" => fields.intake.event.summary = fields.optional_string(place)?,
        "labels" => fields.intake.event.labels = fields.pairs(field, true)?,
        "annotations" => fields.intake.event.annotations = fields.pairs(field, true)?,
        "dedup_key" => fields.intake.event.dedup_key = fields.optional_string(place)?,
        "occurred_at" => fields.intake.event.occurred_at = fields.time(place)?,
        "ends_at" => fields.intake.event.ends_at = fields.time(place)?,
        "links" => read_links(fields)?,
        _ => unreachable!("FIELDS and this list are the same"),
    }
    Ok(())
}

fn read_links(fields: &mut Fields<'_, '_, '_>) -> Result<(), Box<Syntax>> {
    let mark = fields.intake.batch.mark();
    match fields.reader.value()? {
        Value::Array => {}
        Value::Null => return Ok(()),
        other => {
            fields.wrong_type(other, &[b"links"], "an array of objects")?;
            return Ok(());
        }
    }
    let mut index = 0;
    while fields.reader.next_element()? {
        read_link(fields, mark, index)?;
        index += 1;
    }
    fields.intake.event.links = fields.intake.batch.pairs_since(mark);
    Ok(())
}

fn read_link(fields: &mut Fields<'_, '_, '_>, mark: usize, index: usize) -> Result<(), Box<Syntax>> {
    let index = index.to_string();
    let place = |field: &'static str| [b"links", index.as_bytes(), field.as_bytes()];
    match fields.reader.value()? {
        Value::Object => {}
        other => {
            fields.wrong_type(other, &[b"links", index.as_bytes()], "an object with rel and href")?;
            return Ok(());
        }
    }
    let (mut rel, mut href) = (None, None);
    while let Some(key) = fields.reader.next_key()? {
        let name = fields.reader.key(key);
        let (field, slot) = match &*name {
            b"rel" => ("rel", &mut rel),
            b"href" => ("href", &mut href),
            _ => {
                unknown_field(fields, &[b"links", index.as_bytes(), &name], &LINK_FIELDS)?;
                continue;
            }
        };
        if slot.is_some() {
            duplicate_key(fields, &place(field));
        }
        *slot = Some(fields.optional_string(&place(field))?);
    }
    match href {
        Some(href) if !href.is_empty() => fields.intake.push_pair(mark, rel.unwrap_or_default(), href),
        _ => fields.intake.fault(Code::Missing, &place("href"), "a link needs an address".into()),
    }
    Ok(())
}

fn unknown_field(fields: &mut Fields<'_, '_, '_>, place: &[&[u8]], known: &[&str]) -> Result<(), Box<Syntax>> {
    let name = place.last().copied().unwrap_or_default();
    if !fields.intake.is_faulty() {
        let remedy = match nearest(&String::from_utf8_lossy(name), known.iter().copied()) {
            Some(known) => format!("did you mean {known}?"),
            None => format!("the fields are {}; put others under labels or annotations", known.join(", ")),
        };
        fields.intake.fault(Code::UnknownField, place, format!("no such field {}; {remedy}", echo(name)));
    }
    let value = fields.reader.value()?;
    fields.reader.skip(value)
}

fn duplicate_key(fields: &mut Fields<'_, '_, '_>, place: &[&[u8]]) {
    fields.intake.fault(Code::DupKey, place, "the same key twice in one object; keep one".into());
}
