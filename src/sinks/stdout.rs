//! The `stdout` sink: one line per delivery, for people on a terminal, as JSON for everything else.
//!
//! A line is written and flushed before it is confirmed. A closed or full pipe is an error like any other.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::printable;
use super::{Sink, SinkError, Ticket};
use crate::delivery::Delivery;

/// Settings of a `stdout` sink.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `text` (one readable line) or `json` (the document). Default: text on a terminal, else JSON.
    pub format: Option<Format>,
}

/// How a delivery is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One readable line.
    Text,
    /// The document.
    Json,
}

/// Prints deliveries.
pub struct Stdout {
    format: Format,
    out: Arc<Mutex<dyn Write + Send>>,
}

impl Stdout {
    /// One that prints to the process's standard output.
    pub fn new(config: &Config) -> Self {
        let fitting = || if std::io::stdout().is_terminal() { Format::Text } else { Format::Json };
        Self::writing_to(config.format.unwrap_or_else(fitting), Arc::new(Mutex::new(std::io::stdout())))
    }

    /// One that prints elsewhere.
    pub fn writing_to(format: Format, out: Arc<Mutex<dyn Write + Send>>) -> Self {
        Self { format, out }
    }

    async fn print(&self, delivery: &Delivery) -> Result<(), SinkError> {
        let mut line = match self.format {
            Format::Text => text_line(delivery).into_bytes(),
            Format::Json => delivery.body.clone(),
        };
        line.push(b'\n');
        let out = self.out.clone();
        let write = move || {
            let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
            out.write_all(&line).and_then(|()| out.flush())
        };
        match tokio::task::spawn_blocking(write).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(SinkError::Unknown(error.to_string())),
            Err(error) => Err(SinkError::Unknown(error.to_string())),
        }
    }
}

impl Sink for Stdout {
    fn deliver<'a>(&'a self, delivery: &'a Delivery) -> BoxFuture<'a, Result<Option<Ticket>, SinkError>> {
        Box::pin(async move { self.print(delivery).await.map(|()| None) })
    }
}

/// `2026-01-31T12:00:00Z  INC-… opened  P1  checkout degraded  (2 of 3 alerts firing, 812 events)`, and what else is
/// told: `: we work on it`.
fn text_line(delivery: &Delivery) -> String {
    let document: Value = serde_json::from_slice(&delivery.body).unwrap_or_default();
    let incident = &document["incident"];
    let text = |value: &Value| printable(value.as_str().unwrap_or("-").as_bytes());
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let time = document["occurred_at"].as_str().map_or_else(|| delivery.created_at.to_string(), str::to_owned);
    let message = document["message"].as_str().map(|said| format!(": {}", printable(said.as_bytes())));
    format!(
        "{time}  {id}  {action:<12}  {priority}  {title}  ({firing} of {total} alerts firing, {events} events){message}",
        message = message.unwrap_or_default(),
        time = printable(time.as_bytes()),
        id = delivery.incident,
        action = delivery.action.as_str(),
        priority = text(&incident["priority"]),
        title = text(&incident["title"]),
        firing = number(&incident["alerts"]["firing"]),
        total = number(&incident["alerts"]["total"]),
        events = number(&incident["events"]),
    )
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{self, delivery};
    use super::*;

    #[tokio::test]
    async fn conforms_to_the_contract_of_sinks() {
        let out = Arc::new(Mutex::new(Vec::new()));
        let sink = Stdout::writing_to(Format::Json, out.clone());
        conformance::check(&sink, async || {
            out.lock().expect("no panic").split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
        })
        .await;
    }

    #[test]
    fn a_line_of_text_says_what_happened_and_holds_no_control_characters() {
        let mut delivery = delivery(1, 1);
        delivery.body = br#"{"occurred_at":"2026-01-31T12:00:00Z","incident":{"priority":"P1","title":"a\nb\u001b[31m",
            "alerts":{"firing":2,"total":3},"events":812}}"#
            .to_vec();
        let line = text_line(&delivery);
        let expected = "opened        P1  a\\nb\\u{1b}[31m  (2 of 3 alerts firing, 812 events)";
        assert!(line.starts_with("2026-01-31T12:00:00Z  INC-0000000000001  ") && line.ends_with(expected), "{line}");
    }

    #[test]
    fn a_line_of_text_ends_in_the_message() {
        let mut delivery = delivery(1, 1);
        delivery.body = br#"{"message":"we work on it\nnext: 12:00","incident":{"events":1}}"#.to_vec();
        let line = text_line(&delivery);
        assert!(line.ends_with("events): we work on it\\nnext: 12:00"), "{line}");
    }
}
