//! Reading opening hours: days and ranges of days, and the spans of a day.

use std::collections::BTreeMap;

use super::calendar::{Span, Week};
use crate::event::hint;
use crate::rules::Problem;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const SPANS_MAX: usize = 12;

/// The spans of each day, and what is wrong, below the path `root`.
pub(super) fn week(root: &str, hours: &BTreeMap<String, Vec<String>>) -> (Week, Vec<Problem>) {
    let (mut week, mut problems) = (Week::default(), Vec::new());
    let mut named_by: [Option<&str>; 7] = [None; 7];
    for (key, texts) in hours {
        let path = format!("{root}[\"{key}\"]");
        let days = match days(key) {
            Ok(days) => days,
            Err(wrong) => {
                problems.push(Problem::error(&path, wrong));
                continue;
            }
        };
        let spans = spans(&path, texts, &mut problems);
        for day in days {
            if let Some(other) = named_by[day].replace(key) {
                let message = format!("{} is named by \"{other}\" already", DAYS[day]);
                problems.push(Problem::error(&path, message));
            }
            week[day].clone_from(&spans);
        }
    }
    if problems.is_empty() && week.iter().all(Vec::is_empty) {
        let example = "`mon-fri: ['09:00-17:30']`, or `mon-sun: ['00:00-24:00']`";
        problems.push(Problem::error(root, format!("never opens: say when, such as {example}")));
    }
    (week, problems)
}

/// The days of `mon`, `mon-fri` or, over the end of the week, `sat-mon`.
fn days(key: &str) -> Result<Vec<usize>, String> {
    let day = |text: &str| {
        let text = text.trim().to_ascii_lowercase();
        let known = DAYS.iter().position(|day| *day == text);
        known.ok_or_else(|| {
            let hint =
                text.get(..3).filter(|short| DAYS.contains(short)).map(|near| format!(", did you mean \"{near}\"?"));
            let hint = hint.unwrap_or_else(|| hint_of(&text));
            format!("days are mon, tue, wed, thu, fri, sat and sun, or a range such as mon-fri, not \"{key}\"{hint}")
        })
    };
    let (first, last) = key.split_once('-').unwrap_or((key, key));
    let (first, last) = (day(first)?, day(last)?);
    Ok((0..=(last + 7 - first) % 7).map(|step| (first + step) % 7).collect())
}

fn hint_of(text: &str) -> String {
    hint(text, DAYS)
}

/// In order; those that touch are one.
fn spans(path: &str, texts: &[String], problems: &mut Vec<Problem>) -> Vec<Span> {
    if texts.len() > SPANS_MAX {
        let message = format!("at most {SPANS_MAX} spans a day, not {}", texts.len());
        problems.push(Problem::error(path, message));
        return Vec::new();
    }
    let mut read: Vec<(Span, usize)> = Vec::new();
    for (place, text) in texts.iter().enumerate() {
        match span(text) {
            Ok(span) => read.push((span, place)),
            Err(wrong) => problems.push(Problem::error(format!("{path}[{place}]"), wrong)),
        }
    }
    read.sort_unstable();
    let mut joined: Vec<Span> = Vec::new();
    for ((begin, end), place) in read {
        match joined.last_mut() {
            Some(last) if begin < last.1 => {
                let message = format!("\"{}\" overlaps another span of the day", texts[place]);
                problems.push(Problem::error(format!("{path}[{place}]"), message));
            }
            Some(last) if begin == last.1 => last.1 = end,
            _ => joined.push((begin, end)),
        }
    }
    joined
}

/// Reads `09:00-17:30`.
fn span(text: &str) -> Result<Span, String> {
    let wrong = || format!("a span is written 09:00-17:30, up to 24:00, not \"{text}\"");
    let (begin, end) = text.split_once('-').ok_or_else(wrong)?;
    let (begin, end) = (minute(begin).ok_or_else(wrong)?, minute(end).ok_or_else(wrong)?);
    if begin == end {
        return Err(format!("\"{text}\" is over as it begins; a whole day is 00:00-24:00"));
    }
    if begin > end {
        let (begin, end) = (text.split('-').next().unwrap_or_default().trim(), shown(end));
        return Err(format!(
            "\"{text}\" ends before it begins; over midnight write {begin}-24:00, and 00:00-{end} for the day after"
        ));
    }
    Ok((begin, end))
}

fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.trim().split_once(':')?;
    let digits = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(hour) || !digits(minute) {
        return None;
    }
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    (hour < 24 && minute < 60 || (hour, minute) == (24, 0)).then_some(hour * 60 + minute)
}

fn shown(minute: u16) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}
