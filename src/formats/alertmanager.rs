//! Alertmanager's API v2: an array of alerts, as Prometheus, vmalert, Loki and Mimir rulers push them.
//!
//! Keeps Alertmanager's meaning (`api/v2/api.go`, `postAlertsHandler`): labels with empty values are no labels, a zero
//! or missing time is none, and an alert whose `endsAt` is not in the future is resolved. Fields it does not know are
//! skipped. Firing alerts are repeated with the same `startsAt` and a later `endsAt`: the one is when it happened, the
//! other the end of the lease. A resolved alert happened at its `endsAt`.

use crate::event::{Batch, Code, Event, Pairs, Reject, Severity, Status, Text, Timestamp};

use super::Payload;
use super::SeverityMap;
use super::fields::{Fields, Stop, utf8_error, utf8_message};
use super::intake::Intake;
use super::json::Syntax;

/// Go's zero time, which stands for none: `0001-01-01T00:00:00Z`.
const ZERO_TIME: Timestamp = Timestamp::from_parts(-62_135_596_800, 0);
/// Annotations that make a summary, best first.
const SUMMARIES: [&[u8]; 3] = [b"summary", b"message", b"description"];

/// Reads an array of alerts.
pub(super) fn decode(
    bytes: &[u8],
    payload: &Payload,
    severities: &SeverityMap,
    intake: &mut Intake<'_>,
) -> Result<(), Reject> {
    if let Some(at) = utf8_error(&bytes[payload.span.start..]) {
        return Err(intake.refuse(Code::Utf8, utf8_message(at)));
    }
    intake.default_source("alertmanager");
    let mut fields = Fields::new(bytes, payload.span.start, intake);
    document(&mut fields, severities).map_err(|stop| fields.refuse(stop))
}

fn document(fields: &mut Fields<'_, '_, '_>, severities: &SeverityMap) -> Result<(), Stop> {
    match fields.reader.peek() {
        None => return Err(fields.intake.empty().into()),
        Some(b'[') => fields.events(&|fields| read_alert(fields, severities))?,
        Some(_) => return Err(fields.wrong_shape("an array of alerts, as for POST /api/v2/alerts")),
    }
    Ok(fields.reader.end()?)
}

/// What an alert says beside its labels and annotations.
#[derive(Default)]
struct Rest {
    starts_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
    generator: Text,
    seen: u8,
}

fn read_alert(fields: &mut Fields<'_, '_, '_>, severities: &SeverityMap) -> Result<(), Box<Syntax>> {
    let mut rest = Rest::default();
    while let Some(key) = fields.reader.next_key()? {
        let name = fields.reader.key(key);
        read_field(fields, &name, &mut rest)?;
    }
    settle(fields.intake, &rest, severities);
    Ok(())
}

fn read_field(fields: &mut Fields<'_, '_, '_>, name: &[u8], rest: &mut Rest) -> Result<(), Box<Syntax>> {
    let place = &[name];
    let bit = match name {
        b"labels" => {
            fields.intake.event.labels = fields.pairs("labels", false)?;
            1
        }
        b"annotations" => {
            fields.intake.event.annotations = fields.pairs("annotations", true)?;
            2
        }
        b"startsAt" => {
            rest.starts_at = fields.time(place)?.filter(|time| *time != ZERO_TIME);
            4
        }
        b"endsAt" => {
            rest.ends_at = fields.time(place)?.filter(|time| *time != ZERO_TIME);
            8
        }
        b"generatorURL" => {
            rest.generator = fields.optional_string(place)?;
            16
        }
        _ => {
            let value = fields.reader.value()?;
            fields.reader.skip(value)?;
            0
        }
    };
    if rest.seen & bit != 0 {
        fields.intake.fault(Code::DupKey, place, "the same key twice in one object; keep one".into());
    }
    rest.seen |= bit;
    Ok(())
}

/// Fills in what follows from the alert as a whole.
fn settle(intake: &mut Intake<'_>, rest: &Rest, severities: &SeverityMap) {
    if intake.event.labels.is_empty() {
        intake.fault(Code::Missing, &[b"labels"], "an alert needs at least one label with a value".into());
    }
    settle_times(intake, rest);
    if let Some(label) = find(intake.batch, intake.event.labels, b"severity") {
        let severity = severities.get(intake.batch.bytes(label));
        intake.event.severity = severity.unwrap_or(Severity::Warning);
        intake.event_has_unknown_severity = severity.is_none();
    }
    intake.event.summary = summary(intake.batch, &intake.event);
    if !rest.generator.is_empty() {
        let (mark, rel) = (intake.batch.mark(), intake.generator());
        intake.push_pair(mark, rel, rest.generator);
        intake.event.links = intake.batch.pairs_since(mark);
    }
}

fn settle_times(intake: &mut Intake<'_>, rest: &Rest) {
    let (starts_at, ends_at) = (rest.starts_at, rest.ends_at);
    if let (Some(starts_at), Some(ends_at)) = (starts_at, ends_at)
        && ends_at < starts_at
    {
        intake.fault(Code::TimeOrder, &[b"endsAt"], format!("{ends_at} lies before startsAt ({starts_at})"));
    }
    if ends_at.is_some_and(|ends_at| ends_at <= intake.received_at) {
        intake.event.status = Status::Resolved;
        intake.event.occurred_at = ends_at;
    } else {
        intake.event.occurred_at = starts_at;
        intake.event.ends_at = ends_at;
    }
}

fn summary(batch: &Batch, event: &Event) -> Text {
    let annotation = |name: &&[u8]| find(batch, event.annotations, name).filter(|text| !text.is_empty());
    let text = SUMMARIES.iter().find_map(annotation);
    text.or_else(|| find(batch, event.labels, b"alertname")).unwrap_or_default()
}

fn find(batch: &Batch, pairs: Pairs, name: &[u8]) -> Option<Text> {
    let pair = batch.pairs(pairs).iter().find(|pair| batch.bytes(pair.name) == name)?;
    Some(pair.value)
}
