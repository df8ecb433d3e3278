//! The instructions that an event costs are those in docs/performance.md, within a tenth.
//!
//! Counted by callgrind, so a busy machine changes nothing; another compiler does. `make test` builds the bench before
//! the tests, as `make counts` does, which also writes the figures anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::root;
use crate::harness::servers::{fetched, run, script};

const PAGE: &str = "docs/performance.md";
/// Events of a counted request.
const EVENTS: u64 = 512;
/// How far off a count may be, in per cent.
const TOLERANCE: u64 = 10;
const REMEDY: &str = "if that is meant, let `make counts` write it anew";

/// Instructions per event, by part and format.
type Counts = BTreeMap<(String, &'static str), u64>;

/// The executable that was built last.
fn bench() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("debug").join("deps");
    let built = std::fs::read_dir(&folder).unwrap().flatten().filter(|entry| {
        let name = entry.file_name();
        name.to_str().is_some_and(|name| name.starts_with("instructions-") && !name.contains('.'))
    });
    let newest = built.max_by_key(|entry| entry.metadata().unwrap().modified().unwrap());
    newest.expect("benches/instructions.rs is not built; run `make counts`, or the whole of `make test`").path()
}

/// Runs the bench and reads what gungraun says of each function.
fn counted() -> Counts {
    fetched();
    let home = tempfile::tempdir().unwrap();
    let mut runner = Command::new(script("gungraun.sh"));
    runner.arg(bench()).args(["--bench", "--nosummary", "--output-format=json", "--parallel=2"]);
    runner.current_dir(root()).env("GUNGRAUN_HOME", home.path());
    let said = run(runner).unwrap_or_else(|error| panic!("the instructions cannot be counted: {error}"));
    let reports = serde_json::Deserializer::from_str(&said).into_iter::<Value>();
    reports
        .map(|report| report.unwrap_or_else(|error| panic!("{error}: {said}")))
        .map(|report| count(&report))
        .collect()
}

fn count(report: &Value) -> ((String, &'static str), u64) {
    let part = report["function_name"].as_str().unwrap().to_owned();
    let format = FORMATS.into_iter().find(|format| report["id"] == *format).unwrap();
    let instructions = report.pointer("/profiles/0/data/total/metrics/Ir/values/new");
    let instructions = instructions.and_then(Value::as_u64).unwrap_or_else(|| panic!("no count in {report}"));
    ((part, format), instructions / EVENTS)
}

/// The columns of the table.
const FORMATS: [&str; 2] = ["protobuf", "json"];

/// The parts with what the page says of them, one per row: | `part` | what it is | protobuf | JSON |
fn documented(page: &str) -> Counts {
    let section = page.split("\n## ").find(|section| section.starts_with("Instructions")).unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.flat_map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let part = cells[1].trim_matches('`').to_owned();
        let figure = |cell: &str| cell.replace(',', "").parse().unwrap_or_else(|_| panic!("no figure in {row}"));
        [(part.clone(), FORMATS[0]), (part, FORMATS[1])].into_iter().zip([figure(cells[3]), figure(cells[4])])
    })
    .collect()
}

/// The page with other figures.
fn with(page: &str, counts: &Counts) -> String {
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').collect();
        let part = cells.get(1)?.trim().trim_matches('`').to_owned();
        let figure = |format| counts.get(&(part.clone(), format)).map(|count| grouped(*count));
        let (protobuf, json) = (figure(FORMATS[0])?, figure(FORMATS[1])?);
        Some(format!("|{}|{}| {protobuf} | {json} |\n", cells[1], cells[2]))
    };
    page.lines().map(|line| row(line).unwrap_or_else(|| format!("{line}\n"))).collect()
}

/// 12,345
fn grouped(count: u64) -> String {
    match count {
        0..1_000 => count.to_string(),
        _ => format!("{},{:03}", grouped(count / 1_000), count % 1_000),
    }
}

/// What is too far from what is written, either way.
fn differences(documented: &Counts, counted: &Counts) -> Vec<String> {
    let mut found = Vec::new();
    for ((part, format), written) in documented {
        let Some(count) = counted.get(&(part.clone(), *format)) else {
            found.push(format!("`{part}` of {format} stands in {PAGE} and is not counted"));
            continue;
        };
        if count.abs_diff(*written) * 100 > written * TOLERANCE {
            let change = (*count as f64 / *written as f64 - 1.0) * 100.0;
            found.push(format!(
                "`{part}` of {format}: {count} instructions an event, {PAGE} says {written} ({change:+.0} %); {REMEDY}"
            ));
        }
    }
    let missing = counted.keys().filter(|key| !documented.contains_key(key));
    found.extend(missing.map(|(part, format)| format!("`{part}` of {format} is counted and not in {PAGE}; {REMEDY}")));
    found
}

#[test]
fn an_event_costs_the_instructions_that_are_written_down() {
    let path = root().join(PAGE);
    let page = std::fs::read_to_string(&path).unwrap();
    let counted = counted();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, with(&page, &counted)).unwrap();
        return;
    }
    let found = differences(&documented(&page), &counted);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_count_that_is_a_tenth_off_is_found_whichever_way() {
    let page = "# P\n## Instructions\n| `a` | x | 1,000 | 100 |\n| `b` | x | 10 | 10 |\n## Else\n| `c` | x | 1 | 1 |\n";
    let counts = |a, b| Counts::from([(("a".to_owned(), "protobuf"), a), (("a".to_owned(), "json"), b)]);
    let with_b = |mut all: Counts, b| {
        all.extend(FORMATS.map(|format| (("b".to_owned(), format), b)));
        all
    };
    let found = |counts| differences(&documented(page), &counts).len();
    assert_eq!(found(with_b(counts(1_100, 90), 10)), 0);
    assert_eq!(found(with_b(counts(1_101, 89), 10)), 2);
    assert_eq!(found(counts(1_000, 100)), 2, "`b` is not counted");
    let written = with(page, &with_b(counts(12_345, 7), 9));
    assert!(
        written.contains("\n| `a` | x | 12,345 | 7 |\n| `b` | x | 9 | 9 |\n## Else\n| `c` | x | 1 | 1 |\n"),
        "{written}"
    );
}
