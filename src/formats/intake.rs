//! The event being read, and where it goes when it is complete: into the batch, or among the rejects.
//!
//! A reader notes what is wrong with an event and reads on to its end; the first fault noted is the one reported.

use crate::event::{Batch, Code, Event, Limits, Reject, Text, Timestamp, pointer};

use super::{Decoded, Format, Memo, Payload};

/// See the module.
pub(super) struct Intake<'a> {
    pub batch: &'a mut Batch,
    /// The event being read.
    pub event: Event,
    pub limits: &'a Limits,
    /// What is known of events that came before.
    pub memo: Option<&'a mut Memo>,
    pub received_at: Timestamp,
    /// Whether the event being read names a severity that the map does not know.
    pub event_has_unknown_severity: bool,
    unknown_severities: u32,
    /// The link relation that every alert has, once it is in the arena.
    generator: Option<Text>,
    rejects: &'a mut Vec<Reject>,
    fault: Option<Reject>,
    source: Text,
    first_index: u32,
    seen: u32,
    /// Where the pairs of the event being read begin.
    mark: usize,
    before: Before,
}

/// How much there was before this payload.
struct Before {
    events: usize,
    pairs: usize,
    rejects: usize,
    unknown: usize,
}

impl<'a> Intake<'a> {
    pub fn new(
        payload: &Payload,
        limits: &'a Limits,
        memo: Option<&'a mut Memo>,
        batch: &'a mut Batch,
        rejects: &'a mut Vec<Reject>,
    ) -> Self {
        let mut memo = memo.filter(|_| payload.format == Format::EventProtobuf);
        if let Some(memo) = &mut memo {
            memo.begin(batch.text(payload.source));
        }
        let unknown = memo.as_ref().map_or(0, |memo| memo.unknown());
        let before = Before { events: batch.events.len(), pairs: batch.mark(), rejects: rejects.len(), unknown };
        Self {
            event: Event::default(),
            limits,
            memo,
            received_at: payload.received_at,
            event_has_unknown_severity: false,
            unknown_severities: 0,
            generator: None,
            fault: None,
            source: payload.source,
            first_index: payload.first_index,
            seen: 0,
            mark: before.pairs,
            before,
            batch,
            rejects,
        }
    }

    /// The source of events that name none.
    pub fn default_source(&mut self, otherwise: &str) {
        if self.source.is_empty() {
            self.source = self.batch.intern(otherwise);
        }
    }

    /// The link relation `generator`, copied once per payload.
    pub fn generator(&mut self) -> Text {
        *self.generator.get_or_insert_with(|| self.batch.intern("generator"))
    }

    /// Starts the next event.
    ///
    /// # Errors
    /// When the payload holds more than the limit allows.
    pub fn begin(&mut self) -> Result<(), Reject> {
        if self.seen == self.limits.events {
            let message = format!("more than {} events in one request; send them in several", self.limits.events);
            return Err(self.refuse(Code::TooLarge, message));
        }
        self.event = Event { index: self.first_index + self.seen, ..Event::default() };
        self.event_has_unknown_severity = false;
        self.fault = None;
        self.mark = self.batch.mark();
        self.seen += 1;
        Ok(())
    }

    /// Notes what is wrong with the event being read, unless something was noted already.
    pub fn fault(&mut self, code: Code, place: &[&[u8]], message: String) {
        self.note(Reject::new(self.event.index, code, pointer(place), message));
    }

    /// Whether a fault was noted, so that another need not be worded.
    pub fn is_faulty(&self) -> bool {
        self.fault.is_some()
    }

    /// The same as `fault`, with the reject made.
    pub fn note(&mut self, reject: Reject) {
        self.fault.get_or_insert(reject);
    }

    /// Notes what is wrong in place of anything noted before.
    pub fn overriding_fault(&mut self, code: Code, message: String) {
        self.fault = Some(Reject::new(self.event.index, code, "", message));
    }

    /// Appends a pair to the run that began at `mark`. Beyond one more than the limit, which `normalise` will see
    /// and reject, pairs are dropped, so that a crafted event cannot take much more memory than its bytes.
    pub fn push_pair(&mut self, mark: usize, name: Text, value: Text) {
        if self.batch.mark() - mark <= self.limits.labels as usize {
            self.batch.push_pair(name, value);
        }
    }

    /// Ends the event being read, which took so many bytes.
    pub fn finish(&mut self, bytes: usize) {
        if bytes > self.limits.event_bytes.as_usize() {
            self.overriding_fault(Code::TooLarge, self.too_large_message(bytes));
        }
        if let Some(reject) = self.fault.take() {
            self.batch.truncate_pairs(self.mark);
            self.rejects.push(reject);
            return;
        }
        if self.event.source.is_empty() {
            self.event.source = self.source;
        }
        self.unknown_severities += u32::from(self.event_has_unknown_severity);
        self.batch.events.push(self.event);
    }

    /// Refuses the payload as a whole.
    pub fn refuse(&self, code: Code, message: String) -> Reject {
        Reject::new(self.first_index, code, "", message)
    }

    /// Refuses a payload without content.
    pub fn empty(&self) -> Reject {
        self.refuse(Code::Empty, "there is nothing in it; send an event".into())
    }

    /// Refuses a payload that is one event of too many bytes.
    pub fn too_large(&self, bytes: usize) -> Reject {
        self.refuse(Code::TooLarge, self.too_large_message(bytes))
    }

    fn too_large_message(&self, bytes: usize) -> String {
        let limit = self.limits.event_bytes;
        format!("{bytes}>{} bytes; event_bytes allows {limit}", limit.0)
    }

    /// Takes back everything since the start of the payload.
    pub fn roll_back(&mut self) {
        self.seen = 0;
        self.unknown_severities = 0;
        self.batch.events.truncate(self.before.events);
        self.batch.truncate_pairs(self.before.pairs);
        self.rejects.truncate(self.before.rejects);
        if let Some(memo) = &mut self.memo {
            memo.take_back(self.before.unknown);
        }
    }

    /// What was in the payload.
    pub fn decoded(&self) -> Decoded {
        Decoded { events: self.seen, unknown_severities: self.unknown_severities }
    }
}
