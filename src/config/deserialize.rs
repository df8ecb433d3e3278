//! serde over a [`Document`]: gives each value to the type that wants it, and says in plain words what does not fit.
//!
//! Unknown keys are noted and passed over, so that all of them are found. Every other fault ends the attempt with the
//! node it is at; `read` then leaves that node out and tries again. A key without a value counts as not there.

use std::cell::RefCell;
use std::fmt;

use serde::de::{self, DeserializeSeed, Expected, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use super::diagnostic::{Place, echo};
use super::document::{Content, Document, Entry, Fault, NodeId};
use crate::event::nearest;

/// What does not fit.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Misfit {
    /// Where, once known.
    pub at: Option<NodeId>,
    pub message: String,
    /// Where its key is, if that is what does not fit.
    pub key: Option<Place>,
    /// The key that is not known where the type, not this reader, found it.
    pub unknown_key: Option<String>,
}

/// A document while it is read.
pub(super) struct Source<'d> {
    pub document: &'d Document,
    /// Values under unknown keys, and what to say of the keys.
    pub unknown: RefCell<Vec<(NodeId, Fault)>>,
}

#[derive(Clone, Copy)]
pub(super) struct Value<'s> {
    pub source: &'s Source<'s>,
    pub id: NodeId,
}

/// `unknown field …`, with the name that was probably meant.
pub(super) fn unknown_field(key: &str, known: &[&str]) -> String {
    let named = format!("unknown field `{}`", echo(key).trim_matches('"'));
    match nearest(key, known.iter().copied()) {
        Some(near) => format!("{named}, did you mean `{near}`?"),
        None if known.is_empty() => named,
        None => format!("{named} (known are {})", known.join(", ")),
    }
}

impl<'s> Value<'s> {
    fn content(self) -> &'s Content {
        &self.source.document.nodes[self.id].content
    }

    fn at(self, id: NodeId) -> Self {
        Self { id, ..self }
    }

    fn scalar(self) -> Option<&'s str> {
        self.source.document.text(self.id).filter(|_| !self.source.document.is_null(self.id))
    }

    /// The entries that say something.
    fn entries(self) -> impl Iterator<Item = &'s Entry> {
        let document = self.source.document;
        document.entries(self.id).filter(|entry| !document.is_null(entry.value))
    }

    fn list<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        let mut items =
            Items { value: self, left: self.source.document.items(self.id).collect::<Vec<_>>().into_iter() };
        let read = visitor.visit_seq(&mut items)?;
        match items.left.len() {
            0 => Ok(read),
            left => Err(de::Error::custom(format!("{left} items too many in this list"))),
        }
    }

    fn map<'de, V: Visitor<'de>>(self, entries: Vec<&'s Entry>, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_map(Pairs { value: self, left: entries.into_iter(), next: None })
    }
}

impl<'de> de::Deserializer<'de> for Value<'_> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.content() {
            Content::List(_) => self.list(visitor),
            Content::Map(_) => self.map(self.entries().collect(), visitor),
            Content::Scalar { text, plain } if *plain || self.source.document.nodes[self.id].from_environment => {
                plain_scalar(text, visitor)
            }
            Content::Scalar { text, .. } => visitor.visit_str(text),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.scalar() {
            Some(text) => visitor.visit_str(text),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_string(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        if self.source.document.is_null(self.id) { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        match self.scalar() {
            Some(text) => visitor.visit_enum(text.into_deserializer()),
            None => Err(de::Error::custom(format!("expected one of {}", names.join(", ")))),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        if matches!(self.content(), Content::List(_)) {
            return Err(de::Error::invalid_type(Unexpected::Seq, &visitor));
        }
        let Content::Map(_) = self.content() else { return self.deserialize_any(visitor) };
        let (known, unknown): (Vec<_>, Vec<_>) =
            self.source.document.entries(self.id).partition(|entry| fields.contains(&entry.key.as_str()));
        let noted = unknown.into_iter().map(|entry| {
            let fault = Fault { place: entry.place, message: unknown_field(&entry.key, fields) };
            (entry.value, fault)
        });
        self.source.unknown.borrow_mut().extend(noted);
        let document = self.source.document;
        self.map(known.into_iter().filter(|entry| !document.is_null(entry.value)).collect(), visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf
        unit unit_struct seq tuple tuple_struct map identifier
    }
}

/// A scalar without quotes, by YAML's core schema as far as a configuration needs it.
fn plain_scalar<'de, V: Visitor<'de>>(text: &str, visitor: V) -> Result<V::Value, Misfit> {
    if let Ok(number) = text.parse() {
        return visitor.visit_u64(number);
    }
    if let Ok(number) = text.parse() {
        return visitor.visit_i64(number);
    }
    let digits = text.starts_with(|char: char| char.is_ascii_digit() || matches!(char, '-' | '+' | '.'));
    match (text, text.parse::<f64>()) {
        ("" | "~" | "null", _) => visitor.visit_unit(),
        ("true", _) => visitor.visit_bool(true),
        ("false", _) => visitor.visit_bool(false),
        (_, Ok(number)) if digits && number.is_finite() => visitor.visit_f64(number),
        _ => visitor.visit_str(text),
    }
}

struct Items<'s> {
    value: Value<'s>,
    left: std::vec::IntoIter<NodeId>,
}

impl<'de> de::SeqAccess<'de> for &mut Items<'_> {
    type Error = Misfit;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Misfit> {
        let Some(id) = self.left.next() else { return Ok(None) };
        seed.deserialize(self.value.at(id)).map(Some).map_err(|misfit| misfit.or_at(id))
    }
}

struct Pairs<'s> {
    value: Value<'s>,
    left: std::vec::IntoIter<&'s Entry>,
    next: Option<NodeId>,
}

impl<'de> de::MapAccess<'de> for Pairs<'_> {
    type Error = Misfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Misfit> {
        let Some(entry) = self.left.next() else { return Ok(None) };
        self.next = Some(entry.value);
        let key: de::value::StrDeserializer<'_, Misfit> = entry.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|misfit| Misfit { key: Some(entry.place), ..misfit.or_at(entry.value) })
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Misfit> {
        let id = self.next.take().expect("serde asks for a key before its value");
        seed.deserialize(self.value.at(id)).map_err(|misfit| misfit.or_at(id))
    }
}

impl Misfit {
    fn or_at(mut self, id: NodeId) -> Self {
        self.at.get_or_insert(id);
        self
    }
}

impl de::Error for Misfit {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let message = match message.to_string() {
            text if text.contains("socket address") => {
                "expected an address and a port, such as 127.0.0.1:9095".to_owned()
            }
            text => text,
        };
        Self { at: None, message, key: None, unknown_key: None }
    }

    fn invalid_type(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
            Unexpected::Seq => "a list".to_owned(),
            Unexpected::Map => "a mapping".to_owned(),
            Unexpected::Str(text) => echo(text),
            Unexpected::Bool(flag) => flag.to_string(),
            Unexpected::Unsigned(number) => number.to_string(),
            Unexpected::Signed(number) => number.to_string(),
            Unexpected::Float(number) => number.to_string(),
            other => other.to_string(),
        };
        Self::custom(format!("expected {}, not {found}", in_plain_words(&wanted.to_string())))
    }

    fn invalid_value(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        Self::invalid_type(found, wanted)
    }

    fn invalid_length(found: usize, wanted: &dyn Expected) -> Self {
        let items = if found == 1 { "item" } else { "items" };
        Self::custom(format!("expected {}, not {found} {items}", in_plain_words(&wanted.to_string())))
    }

    fn unknown_variant(name: &str, known: &'static [&'static str]) -> Self {
        let hint = crate::event::hint(name, known.iter().copied());
        Self::custom(format!("expected one of {}, not {}{hint}", known.join(", "), echo(name)))
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Self { unknown_key: Some(key.to_owned()), ..Self::custom(unknown_field(key, known)) }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::custom(format!("missing field `{field}`"))
    }
}

/// serde's words for what it expects speak of Rust.
fn in_plain_words(wanted: &str) -> String {
    let plain = match wanted {
        "a string" | "string" => "text",
        "a sequence" => "a list",
        "a map" => "a mapping",
        "a boolean" => "true or false",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number from 0",
        "f64" => "a number",
        wanted if wanted.starts_with("struct ") => "a mapping",
        wanted => return wanted.replace("an array of length", "a list of length"),
    };
    plain.to_owned()
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Misfit {}
