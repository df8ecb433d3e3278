//! What each format makes of its input: golden files, the catalogue of bad input, and properties.
//!
//! A golden file `tests/formats/<format>/<name>[.one|.lines].in` holds the raw bytes, the `.out` beside it the events
//! and rejects as text. `UPDATE_GOLDEN=1` writes the `.out` files anew.

mod bad_input;
mod properties;
mod recall;
mod unspoilt;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use incidentd::event::{Batch, Event, Limits, Pairs, Reject, Text, Timestamp};
use incidentd::formats::{Decoded, Decoder, Format, Payload, SeverityMap, Shape};
use incidentd::normalise::{IdentifiedBy, NormaliseConfig, Normalised, Normaliser, Scratch};

const RECEIVED_AT: &str = "2026-01-31T12:00:00Z";

pub fn received_at() -> Timestamp {
    Timestamp::parse_rfc3339(RECEIVED_AT.as_bytes()).expect("a time")
}

/// What came of a payload.
pub struct Outcome {
    pub batch: Batch,
    pub decoded: Result<Decoded, Reject>,
    pub normalised: Normalised,
    pub rejects: Vec<Reject>,
}

/// Decodes and normalises with everything at its default.
pub fn take(format: Format, shape: Shape, input: &[u8]) -> Outcome {
    take_with(NormaliseConfig::default(), format, shape, input)
}

pub fn take_with(config: NormaliseConfig, format: Format, shape: Shape, input: &[u8]) -> Outcome {
    let mut batch = Batch::new(Bytes::copy_from_slice(input), received_at());
    let mut rejects = Vec::new();
    let decoder = Decoder::new(config.limits.clone(), SeverityMap::default());
    let decoded = decoder.decode(&payload(format, shape, 0..input.len()), &mut batch, &mut rejects);
    let identified_by = match format {
        Format::Alertmanager => IdentifiedBy::AllLabels,
        _ => IdentifiedBy::ConfiguredLabels,
    };
    let normaliser = Normaliser::new(config);
    let normalised =
        normaliser.normalise(&mut Scratch::default(), &mut batch, received_at(), identified_by, &mut rejects);
    rejects.sort_by_key(|reject| reject.index);
    Outcome { batch, decoded, normalised, rejects }
}

pub fn payload(format: Format, shape: Shape, span: std::ops::Range<usize>) -> Payload {
    Payload { format, shape, span, first_index: 0, source: Text::default(), received_at: received_at() }
}

fn render(outcome: &Outcome) -> String {
    let mut text = String::new();
    match &outcome.decoded {
        Ok(decoded) => writeln!(text, "{} events, {} unknown severities", decoded.events, decoded.unknown_severities),
        Err(reject) => writeln!(text, "refused: {reject}"),
    }
    .expect("a string takes everything");
    for event in &outcome.batch.events {
        text += &render_event(&outcome.batch, event);
    }
    for reject in &outcome.rejects {
        writeln!(text, "\n[{}] rejected: {reject}", reject.index).expect("a string takes everything");
    }
    text
}

fn render_event(batch: &Batch, event: &Event) -> String {
    let mut text = format!(
        "\n[{}] {} {} {} from {:?}\n",
        event.index,
        event.kind.as_str(),
        event.status.as_str(),
        event.severity.as_str(),
        batch.text(event.source)
    );
    let mut line = |name: &str, value: String| text += &format!("    {name}: {value}\n");
    for (name, value) in [("id", event.id), ("summary", event.summary), ("dedup_key", event.dedup_key)] {
        if !value.is_empty() {
            line(name, format!("{:?}", batch.text(value)));
        }
    }
    for (name, pairs) in [("label", event.labels), ("annotation", event.annotations), ("link", event.links)] {
        render_pairs(batch, pairs).into_iter().for_each(|pair| line(name, pair));
    }
    let time = |time: Option<Timestamp>| time.map_or("none".to_owned(), |time| time.to_string());
    line("occurred_at", time(event.occurred_at) + if event.clamped { " (clamped)" } else { "" });
    line("ends_at", time(event.ends_at));
    line("fingerprint", event.fingerprint.to_string());
    line("content", format!("{:016x}", event.content));
    text
}

fn render_pairs(batch: &Batch, pairs: Pairs) -> Vec<String> {
    batch.texts(pairs).map(|(name, value)| format!("{name:?} = {value:?}")).collect()
}

fn golden_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder of golden files");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "in"));
    files.sort();
    files
}

fn check_golden_files(format: Format) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats").join(format.as_str());
    let files = golden_files(&folder);
    assert!(!files.is_empty(), "no golden files for {}", format.as_str());
    for file in files {
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        let shape = match name.split('.').nth(1) {
            Some("one") => Shape::One,
            Some("lines") => Shape::Lines,
            _ => Shape::Many,
        };
        let actual = render(&take(format, shape, &std::fs::read(&file).expect("the input")));
        let expected_file = file.with_extension("out");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&expected_file, &actual).expect("the folder is writable");
        }
        let expected = std::fs::read_to_string(&expected_file).unwrap_or_default();
        assert_eq!(actual, expected, "{name}; UPDATE_GOLDEN=1 accepts the change");
    }
}

#[test]
fn events_as_json_come_out_as_written_down() {
    check_golden_files(Format::Event);
}

#[test]
fn events_as_protobuf_come_out_as_written_down() {
    check_golden_files(Format::EventProtobuf);
}

#[test]
fn alerts_from_alertmanager_senders_come_out_as_written_down() {
    check_golden_files(Format::Alertmanager);
}

/// Limits small enough to be met in a test.
pub fn small_limits() -> Limits {
    Limits { events: 3, labels: 2, json_depth: 6, ..Limits::default() }
}
