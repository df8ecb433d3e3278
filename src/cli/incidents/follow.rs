//! `incidentd incidents list --follow`: the listing, then a line for each change, until it is interrupted.
//!
//! Connects first and lists then, so that nothing falls in between. A connection that is lost is taken up again where it
//! ended; where changes were missed, the listing is printed anew.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::value::RawValue;

use super::{Counts, Incident, Listed, Page, listing, pages};
use crate::cli::Failure;
use crate::cli::client::Client;
use crate::cli::terminal::{Paint, escaped, say};
use crate::clock::Clock;

/// How long to wait before a connection is tried again.
const COME_BACK: Duration = Duration::from_secs(2);
/// An event longer than this is none of ours.
const EVENT_BYTES_MAX: usize = 16 << 20;

/// What is followed, and how it is printed.
pub(super) struct Following<'a> {
    pub(super) client: &'a Client,
    pub(super) filters: Vec<(&'a str, String)>,
    /// Of the listing.
    pub(super) limit: usize,
    /// One document a line.
    pub(super) json: bool,
}

/// One event of a stream.
#[derive(Clone, Debug, Default, PartialEq)]
struct Event {
    name: String,
    data: String,
}

/// Reads `text/event-stream`.
#[derive(Debug, Default)]
struct Reader {
    unread: Vec<u8>,
    event: Event,
    last_id: Option<String>,
}

impl Following<'_> {
    /// Ends only with an error: nothing could be read at first, or something that is not understood.
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut reader = Reader::default();
        let mut known = HashMap::new();
        loop {
            let resumed = reader.last_id.is_some();
            match self.connect(reader.last_id.as_deref()).await {
                Ok(response) => {
                    if !resumed {
                        known = self.list().await?;
                    }
                    self.read(response, &mut reader, &mut known).await?;
                }
                Err(failure) if !resumed => return Err(failure),
                Err(_) => {}
            }
            eprintln!("the connection is lost; trying again");
            tokio::time::sleep(COME_BACK).await;
            // Half an event of the connection before is no event.
            reader = Reader { last_id: reader.last_id, ..Reader::default() };
        }
    }

    async fn connect(&self, last: Option<&str>) -> Result<reqwest::Response, Failure> {
        self.client.follow(&["api", "v1", "incidents", "stream"], &self.filters, last).await
    }

    /// Until the connection ends.
    async fn read(
        &self,
        mut response: reqwest::Response,
        reader: &mut Reader,
        known: &mut HashMap<String, u64>,
    ) -> Result<(), Failure> {
        while let Ok(Some(bytes)) = response.chunk().await {
            reader.unread.extend_from_slice(&bytes);
            while let Some(event) = reader.next() {
                match event.name.as_str() {
                    "reset" => *known = self.list().await?,
                    "incident" => self.changed(&event.data, known)?,
                    _ => {}
                }
            }
            if reader.unread.len() + reader.event.data.len() > EVENT_BYTES_MAX {
                return Err(self.client.unclear(&"an event that does not end"));
            }
        }
        Ok(())
    }

    /// Prints the listing, and tells which versions it has shown.
    async fn list(&self) -> Result<HashMap<String, u64>, Failure> {
        let page: Page = pages(self.client, self.filters.clone(), self.limit).await?;
        let incidents = page.incidents.iter().map(|one| self.understood(one.get())).collect::<Result<Vec<_>, _>>()?;
        if self.json {
            page.incidents.iter().rev().map(|one| RawValue::get(one)).for_each(say);
        } else {
            say(&listing(&incidents, Clock::system().now(), Paint::stdout()));
        }
        Ok(incidents.into_iter().map(|incident| (incident.id, incident.version)).collect())
    }

    fn changed(&self, data: &str, known: &mut HashMap<String, u64>) -> Result<(), Failure> {
        let incident = self.understood(data)?;
        // What came between the connection and the listing is in both.
        if known.remove(&incident.id).is_some_and(|listed| listed >= incident.version) {
            return Ok(());
        }
        if self.json {
            say(data);
        } else {
            say(&line(&incident));
        }
        Ok(())
    }

    fn understood(&self, document: &str) -> Result<Incident, Failure> {
        let listed: Listed = serde_json::from_str(document).map_err(|error| self.client.unclear(&error))?;
        Ok(Incident { counts: listed.alerts, ..listed.incident })
    }
}

fn line(incident: &Incident) -> String {
    let Incident { updated_at, id, priority, title, service, .. } = incident;
    let (updated_at, status) = (updated_at.to_the_second(), incident.standing());
    let Counts { firing, total } = incident.counts;
    let service = service.as_deref().unwrap_or("-");
    escaped(&format!("{updated_at}  {id}  {priority}  {status}  {title}  {service}  {firing}/{total}")).into_owned()
}

impl Reader {
    /// The next event that has come as a whole.
    fn next(&mut self) -> Option<Event> {
        while let Some(end) = memchr::memchr(b'\n', &self.unread) {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            let line = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
            if line.is_empty() {
                let event = std::mem::take(&mut self.event);
                if event.data.is_empty() {
                    continue;
                }
                return Some(event);
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => self.last_id = Some(value.to_owned()),
                "event" => value.clone_into(&mut self.event.name),
                "data" => self.event.data.push_str(value),
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_however_they_are_cut() {
        let stream = b"id: 7\nretry: 2000\n\n:\n\nevent: incident\nid: 8\ndata: {\"a\":\ndata: 1}\n\nevent: reset\r\ndata:{}\r\n\r\nevent: inc";
        for cut in 1..stream.len() {
            let mut reader = Reader::default();
            let mut events = Vec::new();
            for piece in stream.chunks(cut) {
                reader.unread.extend_from_slice(piece);
                events.extend(std::iter::from_fn(|| reader.next()));
            }
            let event = |name: &str, data: &str| Event { name: name.to_owned(), data: data.to_owned() };
            assert_eq!(events, [event("incident", "{\"a\":1}"), event("reset", "{}")], "{cut}");
            assert_eq!(reader.last_id.as_deref(), Some("8"));
        }
    }

    #[test]
    fn a_change_is_one_line_without_control_characters() {
        let listed = r#"{"id": "INC-1", "status": "open", "priority": "P1", "title": "a\nb", "updated_at": "2026-11-22T03:00:00Z",
            "service": "x", "alerts": {"firing": 1, "total": 2}}"#;
        let listed: Listed = serde_json::from_str(listed).unwrap();
        let text = line(&Incident { counts: listed.alerts, ..listed.incident });
        assert!(text.ends_with("  INC-1  P1  open  a\\nb  x  1/2"), "{text}");
        assert_eq!(text.lines().count(), 1);
    }
}
