//! What the JSON formats share: reading a typed field into the event, elements of an array, and the naming of faults.

use crate::event::{Code, Pairs, Reject, Text, Timestamp, echo};

use super::intake::Intake;
use super::json::{self, Raw, Reader, Syntax, Value};
use super::json_string::unescape;

/// Reads JSON fields into an [`Intake`].
pub(super) struct Fields<'a, 'b, 'i> {
    pub reader: Reader<'a>,
    pub intake: &'b mut Intake<'i>,
    bytes: &'a [u8],
    start: usize,
    /// How many lines of the payload come before this document.
    lines_before: usize,
    /// A string without its escapes, on its way into the arena.
    plain: Vec<u8>,
}

/// Reads the members of an event's object, which has just been opened.
pub(super) type ReadEvent<'f> = &'f dyn Fn(&mut Fields<'_, '_, '_>) -> Result<(), Box<Syntax>>;

/// Why reading cannot go on.
pub(super) enum Stop {
    Syntax(Box<Syntax>),
    Refused(Reject),
}

impl From<Box<Syntax>> for Stop {
    fn from(syntax: Box<Syntax>) -> Self {
        Stop::Syntax(syntax)
    }
}

impl From<Reject> for Stop {
    fn from(reject: Reject) -> Self {
        Stop::Refused(reject)
    }
}

impl<'a, 'b, 'i> Fields<'a, 'b, 'i> {
    /// Over the document between `start` and the end of `bytes`.
    pub fn new(bytes: &'a [u8], start: usize, intake: &'b mut Intake<'i>) -> Self {
        let reader = Reader::new(bytes, start, intake.limits.json_depth);
        Self { reader, intake, bytes, start, lines_before: 0, plain: Vec::new() }
    }

    /// The same for a document that comes after so many lines.
    pub fn after_lines(self, lines_before: usize) -> Self {
        Self { lines_before, ..self }
    }

    /// Reads one event, whatever value stands there.
    pub fn event(&mut self, read: ReadEvent<'_>) -> Result<(), Stop> {
        self.intake.begin()?;
        self.reader.peek();
        let start = self.reader.position();
        self.body(read)?;
        self.intake.finish(self.reader.position() - start);
        Ok(())
    }

    /// Reads the elements of an array, each an event.
    pub fn events(&mut self, read: ReadEvent<'_>) -> Result<(), Stop> {
        self.reader.value()?;
        while self.reader.next_element()? {
            self.event(read)?;
        }
        Ok(())
    }

    /// Reads the value of an event that has begun.
    pub fn body(&mut self, read: ReadEvent<'_>) -> Result<(), Box<Syntax>> {
        match self.reader.value()? {
            Value::Object => read(self)?,
            other => {
                self.reader.skip(other)?;
                self.intake.fault(Code::Shape, &[], format!("an event is an object, not {}", other.name()));
            }
        }
        if self.reader.take_too_deep() {
            self.intake.overriding_fault(Code::Depth, depth_message(self.intake));
        }
        Ok(())
    }

    /// Refuses a payload that is something else than `wanted`.
    pub fn wrong_shape(&mut self, wanted: &str) -> Stop {
        let mut read = || {
            let value = self.reader.value()?;
            self.reader.skip(value)?;
            self.reader.end()?;
            Ok(value)
        };
        match read() {
            Err(syntax) => Stop::Syntax(syntax),
            Ok(_) if self.reader.take_too_deep() => {
                Stop::Refused(self.intake.refuse(Code::Depth, depth_message(self.intake)))
            }
            Ok(value) => {
                let message = format!("expected {wanted}, not {}", value.name());
                Stop::Refused(self.intake.refuse(Code::Shape, message))
            }
        }
    }

    /// The reject of a payload that cannot be read on.
    pub fn refuse(&mut self, stop: Stop) -> Reject {
        match stop {
            Stop::Refused(reject) => reject,
            Stop::Syntax(syntax) => {
                let (code, message) = self.describe(&syntax);
                self.intake.refuse(code, message)
            }
        }
    }

    /// Names a syntax error; the first fault counts, so one that lies below the nesting limit is named by that.
    pub fn describe(&mut self, syntax: &Syntax) -> (Code, String) {
        if self.reader.take_too_deep() {
            return (Code::Depth, depth_message(self.intake));
        }
        let (line, column) = json::line_and_column(self.bytes, self.start, syntax.at);
        let rest = &self.bytes[syntax.at..];
        let found = match rest.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next()) {
            Some(c) => echo(c.encode_utf8(&mut [0; 4]).as_bytes()),
            None => "the end".to_owned(),
        };
        let line = line + self.lines_before;
        (syntax.code, format!("{line}:{column} expected {}, found {found}", syntax.expected))
    }

    /// A required string.
    pub fn string(&mut self, place: &[&[u8]]) -> Result<Option<Text>, Box<Syntax>> {
        match self.reader.value()? {
            Value::String(raw) => Ok(Some(self.text(raw, place))),
            other => self.wrong_type(other, place, "a string"),
        }
    }

    /// A string that may be `null`, which is the same as leaving it out.
    pub fn optional_string(&mut self, place: &[&[u8]]) -> Result<Text, Box<Syntax>> {
        match self.reader.value()? {
            Value::String(raw) => Ok(self.text(raw, place)),
            Value::Null => Ok(Text::default()),
            other => Ok(self.wrong_type(other, place, "a string")?.unwrap_or_default()),
        }
    }

    /// A time; `null` and the empty string stand for none.
    pub fn time(&mut self, place: &[&[u8]]) -> Result<Option<Timestamp>, Box<Syntax>> {
        let text = self.optional_string(place)?;
        if text.is_empty() {
            return Ok(None);
        }
        let written = self.intake.batch.bytes(text);
        let time = Timestamp::parse_rfc3339(written);
        if time.is_none() {
            let message = format!("RFC 3339 with a zone required, such as 2026-01-31T12:00:00Z, not {}", echo(written));
            self.intake.fault(Code::Time, place, message);
        }
        Ok(time)
    }

    /// One of a list of names; `null` stands for the default.
    pub fn name_of<T: Default>(
        &mut self,
        place: &[&[u8]],
        names: &[&str],
        parse: fn(&[u8]) -> Option<T>,
    ) -> Result<T, Box<Syntax>> {
        let raw = match self.reader.value()? {
            Value::String(raw) => raw,
            Value::Null => return Ok(T::default()),
            other => {
                self.wrong_type(other, place, "a string")?;
                return Ok(T::default());
            }
        };
        let name = self.reader.key(raw);
        let value = parse(&name);
        if value.is_none() {
            let message = format!("one of {} required, not {}", names.join(", "), echo(&name));
            self.intake.fault(Code::Enum, place, message);
        }
        Ok(value.unwrap_or_default())
    }

    /// An object of strings; `null` stands for none. Pairs whose value is empty are kept only if `keep_empty`.
    pub fn pairs(&mut self, field: &str, keep_empty: bool) -> Result<Pairs, Box<Syntax>> {
        let mark = self.intake.batch.mark();
        match self.reader.value()? {
            Value::Object => {}
            Value::Null => return Ok(Pairs::default()),
            other => {
                self.wrong_type(other, &[field.as_bytes()], "an object of strings")?;
                return Ok(Pairs::default());
            }
        }
        while let Some(key) = self.reader.next_key()? {
            let written = self.reader.bytes(key.span());
            let place = [field.as_bytes(), written];
            let name = self.text(key, &place);
            let Some(value) = self.string(&place)? else { continue };
            if keep_empty || !value.is_empty() {
                self.intake.push_pair(mark, name, value);
            }
        }
        Ok(self.intake.batch.pairs_since(mark))
    }

    /// Notes that a value is of another type than expected, and reads over it.
    pub fn wrong_type(&mut self, value: Value, place: &[&[u8]], expected: &str) -> Result<Option<Text>, Box<Syntax>> {
        self.reader.skip(value)?;
        match value {
            _ if self.intake.is_faulty() => {}
            Value::Number { start, end } if is_out_of_range(self.reader.bytes(start as usize..end as usize)) => {
                let number = echo(self.reader.bytes(start as usize..end as usize));
                self.intake.fault(Code::Number, place, format!("expected {expected}, not the huge number {number}"));
            }
            _ => self.intake.fault(Code::Type, place, format!("expected {expected}, not {}", value.name())),
        }
        Ok(None)
    }

    fn text(&mut self, raw: Raw, place: &[&[u8]]) -> Text {
        if !raw.is_escaped() {
            return Text::in_buffer(raw.start(), raw.span().len());
        }
        self.plain.clear();
        if let Err(at) = unescape(self.reader.bytes(raw.span()), &mut self.plain) {
            let message = format!("half a surrogate pair at byte {} names no character", raw.start() + at);
            self.intake.fault(Code::Utf8, place, message);
            return Text::default();
        }
        let plain = std::str::from_utf8(&self.plain).expect("the input is UTF-8 and escapes name characters");
        self.intake.batch.intern(plain)
    }
}

fn is_out_of_range(number: &[u8]) -> bool {
    let Ok(number) = std::str::from_utf8(number) else { return true };
    if number.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
        return !number.parse::<f64>().is_ok_and(f64::is_finite);
    }
    number.parse::<u64>().is_err() && number.parse::<i64>().is_err()
}

fn depth_message(intake: &Intake<'_>) -> String {
    format!("nested deeper than json_depth allows ({})", intake.limits.json_depth)
}

/// The place of the first byte that is no UTF-8, counted from the start of the payload.
pub(super) fn utf8_error(bytes: &[u8]) -> Option<usize> {
    if simdutf8::basic::from_utf8(bytes).is_ok() {
        return None;
    }
    std::str::from_utf8(bytes).err().map(|error| error.valid_up_to())
}

/// Says where a payload stops being UTF-8.
pub(super) fn utf8_message(at: usize) -> String {
    format!("at byte {at}: JSON is UTF-8; re-encode the text")
}
