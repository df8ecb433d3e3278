//! Who is told: the `sinks` section.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Settings;
use crate::event::{ByteSize, duration};

/// One sink.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "SinkFields")]
pub struct SinkConfig {
    /// Unique name, as in `notify`.
    pub name: String,
    /// What it is.
    pub kind: SinkKind,
    /// How it is delivered to.
    pub delivery: DeliveryConfig,
}

/// What a sink is.
#[derive(Clone, Debug, PartialEq)]
pub enum SinkKind {
    /// Lines of JSON on standard output.
    Stdout,
    /// Lines of JSON in a file.
    File(FileSink),
    /// HTTP POST, as the Standard Webhooks specification says.
    Webhook(WebhookSink),
    /// A Kafka topic.
    Kafka(KafkaSink),
}

/// A file of JSON lines.
#[derive(Clone, Debug, PartialEq)]
pub struct FileSink {
    /// The file; its directory must exist.
    pub path: PathBuf,
    /// A file of this size is rotated; the five newest are kept.
    pub max_bytes: ByteSize,
}

/// An HTTP endpoint.
#[derive(Clone, PartialEq)]
pub struct WebhookSink {
    /// Where to post; often holds a token, so it is never shown whole.
    pub url: String,
    /// A file with the secret that signs; its last line end is not part of it.
    pub secret_file: Option<PathBuf>,
    /// Private and loopback networks that the URL may lead to.
    pub allow_networks: Vec<Network>,
    /// For one request.
    pub timeout: Duration,
    /// Sent along.
    pub headers: Settings,
}

/// A Kafka topic.
#[derive(Clone, Debug, PartialEq)]
pub struct KafkaSink {
    /// `host:port` of some brokers.
    pub brokers: Vec<String>,
    /// The topic.
    pub topic: String,
    /// Further librdkafka settings.
    pub client: Settings,
}

/// How every sink is delivered to.
#[derive(Clone, Debug, PartialEq)]
pub struct DeliveryConfig {
    /// Deliveries per second at most; no limit where `None`.
    pub rate_limit: Option<f64>,
    /// Deliveries under way at once.
    pub concurrency: u32,
    /// A delivery is parked after this long.
    pub give_up_after: Duration,
    /// The backoff between tries.
    pub retry: RetryConfig,
    /// When to stop trying for a while.
    pub breaker: BreakerConfig,
}

/// Backoff between tries, with full jitter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetryConfig {
    /// The first upper bound. Default `200ms`.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub min: Duration,
    /// The last upper bound. Default `60s`.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub max: Duration,
}

/// When to stop trying for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerConfig {
    /// So many failures in a row leave only single probes. Default 5; at least 1.
    pub failures: u32,
}

/// The kinds of sinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum SinkType {
    Stdout,
    File,
    Webhook,
    Kafka,
}

/// A sink as it is written.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SinkConfig")]
pub(super) struct SinkFields {
    /// Unique name, as in `notify`.
    name: String,
    /// `stdout`, `file`, `webhook` or `kafka`.
    #[serde(rename = "type")]
    kind: SinkType,
    /// `file`: the file; its directory must exist.
    path: Option<PathBuf>,
    /// `file`: a file of this size is rotated, the five newest are kept. Default `100MiB`.
    max_bytes: Option<ByteSize>,
    /// `webhook`: where to post, `http` or `https`.
    url: Option<String>,
    /// `webhook`: a file with the secret that signs.
    secret_file: Option<PathBuf>,
    /// `webhook`: private and loopback networks that the URL may lead to, such as `127.0.0.0/8`. Default none.
    #[schemars(with = "Option<Vec<String>>")]
    allow_networks: Option<Vec<Network>>,
    /// `webhook`: for one request. Default `15s`.
    #[serde(default, deserialize_with = "optional_duration")]
    #[schemars(with = "Option<String>")]
    timeout: Option<Duration>,
    /// `webhook`: sent along.
    headers: Option<Settings>,
    /// `kafka`: `host:port` of some brokers.
    brokers: Option<Vec<String>>,
    /// `kafka`: the topic.
    topic: Option<String>,
    /// `kafka`: further librdkafka settings.
    client: Option<Settings>,
    /// Deliveries per second at most. Default: no limit.
    rate_limit: Option<f64>,
    /// Deliveries under way at once, 1 to 256. Default 8.
    concurrency: Option<u32>,
    /// A delivery is parked after this long. Default `7d`.
    #[serde(default, deserialize_with = "optional_duration")]
    #[schemars(with = "Option<String>")]
    give_up_after: Option<Duration>,
    /// The backoff between tries, with full jitter.
    #[serde(default)]
    retry: RetryConfig,
    /// When to stop trying for a while.
    #[serde(default)]
    breaker: BreakerConfig,
}

fn optional_duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration::deserialize(deserializer).map(Some)
}

impl SinkConfig {
    /// The sink used where none is configured.
    pub fn stdout() -> Self {
        Self { name: "stdout".to_owned(), kind: SinkKind::Stdout, delivery: DeliveryConfig::default() }
    }
}

impl SinkFields {
    /// The fields that are there and belong to one type only.
    fn given(&self) -> impl Iterator<Item = (&'static str, SinkType)> {
        let given = [
            ("path", SinkType::File, self.path.is_some()),
            ("max_bytes", SinkType::File, self.max_bytes.is_some()),
            ("url", SinkType::Webhook, self.url.is_some()),
            ("secret_file", SinkType::Webhook, self.secret_file.is_some()),
            ("allow_networks", SinkType::Webhook, self.allow_networks.is_some()),
            ("timeout", SinkType::Webhook, self.timeout.is_some()),
            ("headers", SinkType::Webhook, self.headers.is_some()),
            ("brokers", SinkType::Kafka, self.brokers.is_some()),
            ("topic", SinkType::Kafka, self.topic.is_some()),
            ("client", SinkType::Kafka, self.client.is_some()),
        ];
        given.into_iter().filter(|(_, _, given)| *given).map(|(field, owner, _)| (field, owner))
    }
}

impl TryFrom<SinkFields> for SinkConfig {
    type Error = String;

    fn try_from(fields: SinkFields) -> Result<Self, String> {
        let kind = fields.kind.name();
        if let Some((field, owner)) = fields.given().find(|(_, owner)| *owner != fields.kind) {
            return Err(format!("`{field}` belongs to {} sinks, not to {kind} ones", owner.name()));
        }
        let needs = |field: &str| format!("a {kind} sink needs `{field}`");
        let defaults = DeliveryConfig::default();
        let delivery = DeliveryConfig {
            rate_limit: fields.rate_limit,
            concurrency: fields.concurrency.unwrap_or(defaults.concurrency),
            give_up_after: fields.give_up_after.unwrap_or(defaults.give_up_after),
            retry: fields.retry,
            breaker: fields.breaker,
        };
        let kind = match fields.kind {
            SinkType::Stdout => SinkKind::Stdout,
            SinkType::File => SinkKind::File(FileSink {
                path: fields.path.ok_or_else(|| needs("path"))?,
                max_bytes: fields.max_bytes.unwrap_or(ByteSize(100 << 20)),
            }),
            SinkType::Webhook => SinkKind::Webhook(WebhookSink {
                url: fields.url.ok_or_else(|| needs("url"))?,
                secret_file: fields.secret_file,
                allow_networks: fields.allow_networks.unwrap_or_default(),
                timeout: fields.timeout.unwrap_or(Duration::from_secs(15)),
                headers: fields.headers.unwrap_or_default(),
            }),
            SinkType::Kafka => SinkKind::Kafka(KafkaSink {
                brokers: fields.brokers.ok_or_else(|| needs("brokers"))?,
                topic: fields.topic.ok_or_else(|| needs("topic"))?,
                client: fields.client.unwrap_or_default(),
            }),
        };
        Ok(SinkConfig { name: fields.name, kind, delivery })
    }
}

impl SinkType {
    fn name(self) -> &'static str {
        match self {
            SinkType::Stdout => "stdout",
            SinkType::File => "file",
            SinkType::Webhook => "webhook",
            SinkType::Kafka => "kafka",
        }
    }
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        Self {
            rate_limit: None,
            concurrency: 8,
            give_up_after: Duration::from_secs(7 * 86_400),
            retry: RetryConfig::default(),
            breaker: BreakerConfig::default(),
        }
    }
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self { min: Duration::from_millis(200), max: Duration::from_secs(60) }
    }
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { failures: 5 }
    }
}

impl JsonSchema for SinkConfig {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        SinkFields::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        SinkFields::json_schema(generator)
    }
}

impl fmt::Debug for WebhookSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookSink")
            .field("url", &"[redacted]")
            .field("secret_file", &self.secret_file)
            .field("allow_networks", &self.allow_networks)
            .field("timeout", &self.timeout)
            .field("headers", &self.headers)
            .finish()
    }
}

/// A network in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether an address lies in it. An IPv4 address written as IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("a network is written as in 10.0.0.0/8 or fd00::/8, not {text:?}");
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        if prefix > bits { Err(wrong()) } else { Ok(Self { address, prefix }) }
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Whether an address leads into the house: loopback, private, link-local, multicast, reserved. Such an address is
/// refused unless a network in `allow_networks` contains it.
pub fn is_internal(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            address.is_loopback()
                || address.is_private()
                || address.is_link_local()
                || address.is_documentation()
                || matches!((a, b, c), (0 | 224.., ..) | (100, 64..=127, _) | (192, 0, 0) | (198, 18 | 19, _))
        }
        IpAddr::V6(address) => {
            let [first, second, ..] = address.segments();
            let embedded = (first, second) == (0x64, 0xff9b) && {
                let [.., a, b] = address.segments();
                is_internal(IpAddr::V4((u32::from(a) << 16 | u32::from(b)).into()))
            };
            address.is_loopback()
                || address.is_unspecified()
                || address.is_multicast()
                || address.is_unique_local()
                || address.is_unicast_link_local()
                || embedded
        }
    }
}

/// The headers or client settings as a map, for those who use them.
impl From<Settings> for BTreeMap<String, String> {
    fn from(settings: Settings) -> Self {
        settings.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_lead_into_the_house_are_known_in_every_spelling() {
        for internal in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "255.255.255.255",
            "224.0.0.1",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "fd00::1",
            "fe80::1",
            "ff02::1",
            "64:ff9b::7f00:1",
            "192.0.0.8",
        ] {
            assert!(is_internal(internal.parse().expect(internal)), "{internal}");
        }
        for external in
            ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "::ffff:8.8.8.8", "172.32.0.1", "64:ff9b::808:808"]
        {
            assert!(!is_internal(external.parse().expect(external)), "{external}");
        }
    }

    #[test]
    fn a_network_contains_what_shares_its_prefix() {
        let network = |text: &str| text.parse::<Network>().expect(text);
        let contains = |net: &str, address: &str| network(net).contains(address.parse().expect(address));
        assert!(contains("127.0.0.0/8", "127.9.9.9") && contains("127.0.0.0/8", "::ffff:127.0.0.1"));
        assert!(
            contains("0.0.0.0/0", "8.8.8.8") && contains("10.1.2.3/32", "10.1.2.3") && contains("fd00::/8", "fd12::1")
        );
        assert!(
            !contains("10.0.0.0/8", "11.0.0.0")
                && !contains("0.0.0.0/0", "::1")
                && !contains("10.1.2.3/32", "10.1.2.2")
        );
        for wrong in ["10.0.0.0", "10.0.0.0/33", "::/129", "x/8", "10.0.0/8", ""] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
