//! What a sink is configured with: a name, a kind with settings of its own, and the pace that every sink has.
//!
//! A kind owns its `Config`. Reading streams key by key, so that an unknown key is reported where it stands, with the
//! keys of this very kind beside it.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::{DeserializeOwned, DeserializeSeed, Error, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{file, kafka, stdout, webhook};

/// Where in a sink, and what is wrong there.
pub type Problem = (String, String);

/// A sink. `name` and `type`, the settings of its type, and its pace.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SinkConfig {
    /// Unique; letters, digits, `-` and `_`, at most 64. Part of every delivery id and a metric label.
    pub name: String,
    /// What it is.
    #[serde(flatten)]
    pub kind: Kind,
    /// How fast, how often, how long.
    #[serde(flatten)]
    pub pacing: Pacing,
}

/// What a sink is.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Kind {
    /// Prints deliveries.
    Stdout(stdout::Config),
    /// Appends deliveries to a file.
    File(file::Config),
    /// Posts deliveries to a URL.
    Webhook(webhook::Config),
    /// Produces deliveries to a Kafka topic.
    Kafka(kafka::Config),
}

/// How fast, how often, how long deliveries are tried.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(default)]
pub struct Pacing {
    /// Deliveries a second at most, retries included. Default: no limit of our own.
    pub rate_limit: Option<f64>,
    /// Deliveries of different incidents in flight at once, 1 to 256. Default 8.
    pub concurrency: u32,
    /// Age at which an undelivered delivery is parked: visible, and retried by hand only. Default 7d.
    #[serde(with = "crate::event::duration")]
    #[schemars(with = "String")]
    pub give_up_after: Duration,
    /// The waits between tries.
    pub retry: Retry,
    /// When to leave a failing sink alone.
    pub breaker: Breaker,
}

/// The waits between tries: full jitter between `min` and an upper end that doubles up to `max`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Never sooner. Default 200ms.
    #[serde(with = "crate::event::duration")]
    #[schemars(with = "String")]
    pub min: Duration,
    /// Never later, unless the receiver asks for it. Default 60s.
    #[serde(with = "crate::event::duration")]
    #[schemars(with = "String")]
    pub max: Duration,
}

/// When to leave a failing sink alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Breaker {
    /// Failures in a row after which only single probes go out. Default 5.
    pub failures: u32,
}

impl Default for Pacing {
    fn default() -> Self {
        Self {
            rate_limit: None,
            concurrency: 8,
            give_up_after: Duration::from_secs(7 * 86_400),
            retry: Retry::default(),
            breaker: Breaker::default(),
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { min: Duration::from_millis(200), max: Duration::from_secs(60) }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self { failures: 5 }
    }
}

const CONCURRENCY_MAX: u32 = 256;
const NAME_BYTES_MAX: usize = 64;

impl SinkConfig {
    /// A sink of this kind at the default pace.
    pub fn new(name: &str, kind: Kind) -> Self {
        Self { name: name.to_owned(), kind, pacing: Pacing::default() }
    }

    /// Everything that would keep it from working, as (path within the sink, sentence). Looks at files that are
    /// named, never at the network.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = self.pacing.problems();
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if self.name.is_empty() || self.name.len() > NAME_BYTES_MAX || !self.name.bytes().all(legal) {
            let message = "a sink's name is 1 to 64 letters, digits, - and _: it is part of every delivery id";
            problems.push(("name".to_owned(), message.to_owned()));
        }
        problems.extend(match &self.kind {
            Kind::Stdout(_) => Vec::new(),
            Kind::File(own) => own.problems(),
            Kind::Webhook(own) => own.problems(),
            Kind::Kafka(own) => own.problems(),
        });
        problems
    }
}

impl Kind {
    /// The public name of the type.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Kind::Stdout(_) => "stdout",
            Kind::File(_) => "file",
            Kind::Webhook(_) => "webhook",
            Kind::Kafka(_) => "kafka",
        }
    }
}

impl Pacing {
    const FIELDS: [&'static str; 7] =
        ["name", "type", "rate_limit", "concurrency", "give_up_after", "retry", "breaker"];

    fn problems(&self) -> Vec<Problem> {
        let rate_is_wrong = self.rate_limit.is_some_and(|rate| !rate.is_finite() || rate <= 0.0);
        let checks = [
            (rate_is_wrong, "rate_limit", "deliveries a second, more than 0; leave it out for no limit"),
            (!(1..=CONCURRENCY_MAX).contains(&self.concurrency), "concurrency", "between 1 and 256"),
            (self.give_up_after.is_zero(), "give_up_after", "more than 0s"),
            (self.retry.min.is_zero(), "retry.min", "more than 0s, else a failing sink is tried without a pause"),
            (self.retry.max < self.retry.min, "retry.max", "at least retry.min"),
            (self.breaker.failures == 0, "breaker.failures", "at least 1"),
        ];
        checks.iter().filter(|check| check.0).map(|check| (check.1.to_owned(), check.2.to_owned())).collect()
    }

    /// Reads the value of `key` if it is one of ours.
    fn take<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        #[derive(Deserialize)]
        struct Span(#[serde(with = "crate::event::duration")] Duration);
        match key {
            "rate_limit" => self.rate_limit = map.next_value()?,
            "concurrency" => self.concurrency = map.next_value()?,
            "give_up_after" => self.give_up_after = map.next_value::<Span>()?.0,
            "retry" => self.retry = map.next_value()?,
            "breaker" => self.breaker = map.next_value()?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl<'de> Deserialize<'de> for SinkConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(SinkVisitor)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Tag {
    Stdout,
    File,
    Webhook,
    Kafka,
}

struct SinkVisitor;

impl<'de> Visitor<'de> for SinkVisitor {
    type Value = SinkConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sink: a map with a name and a type")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SinkConfig, A::Error> {
        let (mut name, mut pacing, mut early) = (None, Pacing::default(), VecDeque::new());
        let tag: Tag = loop {
            let Some(key) = map.next_key::<String>()? else { return Err(A::Error::missing_field("type")) };
            match key.as_str() {
                "type" => break map.next_value()?,
                "name" => name = Some(map.next_value()?),
                key if pacing.take(key, &mut map)? => {}
                _ => early.push_back((key, map.next_value()?)),
            }
        };
        let own = OwnFields { map, early, name: &mut name, pacing: &mut pacing, value: None, fields: &[] };
        let kind = match tag {
            Tag::Stdout => Kind::Stdout(own.read()?),
            Tag::File => Kind::File(own.read()?),
            Tag::Webhook => Kind::Webhook(own.read()?),
            Tag::Kafka => Kind::Kafka(own.read()?),
        };
        let name = name.ok_or_else(|| A::Error::missing_field("name"))?;
        Ok(SinkConfig { name, kind, pacing })
    }
}

/// What a kind's own `Config` is read from: the keys that stood before `type`, then the rest of the map, with the
/// shared keys diverted.
struct OwnFields<'a, A> {
    map: A,
    early: VecDeque<(String, serde_json::Value)>,
    name: &'a mut Option<String>,
    pacing: &'a mut Pacing,
    value: Option<serde_json::Value>,
    fields: &'static [&'static str],
}

impl<'de, A: MapAccess<'de>> OwnFields<'_, A> {
    fn read<T: DeserializeOwned>(self) -> Result<T, A::Error> {
        T::deserialize(self)
    }

    fn next_own_key(&mut self) -> Result<Option<String>, A::Error> {
        if let Some((key, value)) = self.early.pop_front() {
            self.value = Some(value);
            return KnownKey(self.fields).visit_str(&key).map(Some);
        }
        while let Some(key) = self.map.next_key_seed(KnownKey(self.fields))? {
            if key == "name" {
                *self.name = Some(self.map.next_value()?);
            } else if !self.pacing.take(&key, &mut self.map)? {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }
}

/// Reads a key that must be one of the kind's own or one of the shared ones. The check runs while the key is read, so
/// that a format that knows lines reports the key's.
struct KnownKey(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for KnownKey {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for KnownKey {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<String, E> {
        let mut known = self.0.iter().chain(&Pacing::FIELDS);
        if known.clone().any(|field| *field == key) {
            return Ok(key.to_owned());
        }
        let first = known.next().map(|field| format!("`{field}`")).unwrap_or_default();
        let names = known.fold(first, |names, field| format!("{names}, `{field}`"));
        Err(E::custom(format_args!("unknown field `{key}`, expected one of {names}")))
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for OwnFields<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let Some(key) = self.next_own_key()? else { return Ok(None) };
        seed.deserialize(key.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        match self.value.take() {
            Some(value) => seed.deserialize(value).map_err(A::Error::custom),
            None => self.map.next_value_seed(seed),
        }
    }
}

impl<'de, A: MapAccess<'de>> Deserializer<'de> for OwnFields<'_, A> {
    type Error = A::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_map(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        mut self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.fields = fields;
        visitor.visit_map(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<SinkConfig, String> {
        serde_saphyr::from_str(yaml).map_err(|error| error.to_string())
    }

    #[test]
    fn keys_may_come_in_any_order_and_defaults_fill_the_rest() {
        let late = read("url: https://example.org/x\nconcurrency: 2\ntimeout: 3s\ntype: webhook\nname: ops\n");
        let early = read("type: webhook\nname: ops\nconcurrency: 2\nurl: https://example.org/x\ntimeout: 3s\n");
        let config = early.expect("readable");
        assert_eq!(late.as_ref(), Ok(&config));
        assert_eq!(config.pacing, Pacing { concurrency: 2, ..Pacing::default() });
        assert!(config.problems().is_empty(), "{:?}", config.problems());
    }

    #[test]
    fn an_unknown_key_is_named_with_the_keys_of_its_kind_and_its_place() {
        let error = read("name: a\ntype: file\npath: /tmp/x\nkeeep: 3\n").expect_err("unknown key");
        assert!(error.contains("unknown field `keeep`") && error.contains("`keep`"), "{error}");
        assert!(error.contains("line 4") && !error.contains("`url`"), "{error}");
        for yaml in ["name: a\ntype: file\nurl: http://x\npath: y\n", "name: a\nurl: http://x\ntype: stdout\n"] {
            assert!(read(yaml).expect_err("another kind's key").contains("unknown field `url`"));
        }
    }

    #[test]
    fn a_missing_name_or_type_or_an_unknown_type_is_an_error() {
        assert!(read("type: stdout\n").expect_err("no name").contains("name"));
        assert!(read("name: a\n").expect_err("no type").contains("type"));
        assert!(read("name: a\ntype: web-hook\n").expect_err("no such type").contains("webhook"));
    }

    #[test]
    fn every_impossible_pace_is_a_problem_with_its_path() {
        let yaml = "{name: a.b, type: stdout, rate_limit: 0, concurrency: 0, give_up_after: 0s,
                     retry: {min: 0s, max: 1s}, breaker: {failures: 0}}";
        let problems = read(yaml).expect("readable").problems();
        let paths: Vec<&str> = problems.iter().map(|problem| problem.0.as_str()).collect();
        assert_eq!(paths, ["rate_limit", "concurrency", "give_up_after", "retry.min", "breaker.failures", "name"]);
    }

    #[test]
    fn the_schema_lists_every_kind_and_the_shared_keys() {
        let schema = serde_json::to_string(&schemars::schema_for!(SinkConfig)).expect("a schema");
        for word in ["stdout", "webhook", "kafka", "allow_networks", "rate_limit", "give_up_after"] {
            assert!(schema.contains(word), "{word}");
        }
    }
}
