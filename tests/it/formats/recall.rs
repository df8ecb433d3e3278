//! What a memo recognises is what decoding and normalising would have made of it, whatever came before.

use bytes::Bytes;
use incidentd::event::{Batch, ByteSize, Event, Limits, Reject, Timestamp};
use incidentd::formats::{Decoded, Decoder, Format, Memo, Payload, SeverityMap, Shape};
use incidentd::normalise::{IdentifiedBy, NormaliseConfig, Normalised, Normaliser, Scratch};
use proptest::prelude::*;

use super::{payload, received_at, render_event};

/// A door: what a configuration makes, and what was learnt under it.
struct Door {
    decoder: Decoder,
    normaliser: Normaliser,
    memo: Option<Memo>,
}

#[derive(Debug, PartialEq)]
struct Taken {
    events: Vec<String>,
    decoded: Result<Decoded, Reject>,
    rejects: Vec<Reject>,
    noticed: Normalised,
}

impl Door {
    fn new(config: &NormaliseConfig, memo: Option<Memo>) -> Self {
        let decoder = Decoder::new(config.limits.clone(), SeverityMap::default());
        Self { decoder, normaliser: Normaliser::new(config.clone()), memo }
    }

    /// What comes of a body, and how many events of it were recognised.
    fn take(&mut self, body: &[u8], shape: Shape, source: &str, now: Timestamp) -> (Taken, usize) {
        let mut batch = Batch::new(Bytes::copy_from_slice(body), now);
        let source = batch.intern(source);
        let payload = Payload { source, ..payload(Format::EventProtobuf, shape, 0..body.len()) };
        let mut rejects = Vec::new();
        let decoded = match &mut self.memo {
            Some(memo) => self.decoder.recall(memo, &payload, &mut batch, &mut rejects),
            None => self.decoder.decode(&payload, &mut batch, &mut rejects),
        };
        let by = IdentifiedBy::ConfiguredLabels;
        let noticed = self.normaliser.normalise(&mut Scratch::default(), &mut batch, now, by, &mut rejects);
        if let Some(memo) = &mut self.memo {
            memo.learn(&batch);
        }
        let recognised = batch.events.iter().filter(|event| event.recognised).count();
        let events = batch.events.iter().map(|event| whole(&batch, event)).collect();
        (Taken { events, decoded, rejects, noticed }, recognised)
    }
}

fn whole(batch: &Batch, event: &Event) -> String {
    let Event { scope, key, lacks_key_label, position, offset, .. } = event;
    render_event(batch, event) + &format!("{scope:?} {key:?} {lacks_key_label} {position} {offset}")
}

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    prost::encoding::encode_varint(bytes.len() as u64, &mut out);
    [&out, bytes].concat()
}

fn entry(number: u8, name: &str, value: &str) -> Vec<u8> {
    field(number, &[field(1, name.as_bytes()), field(2, value.as_bytes())].concat())
}

fn time(number: u8, seconds: i64, nanos: i32) -> Vec<u8> {
    use prost::Message;
    field(number, &prost_types::Timestamp { seconds, nanos }.encode_to_vec())
}

/// A field that stays the same.
fn fixed_field() -> impl Strategy<Value = Vec<u8>> {
    let short = || "[ab\u{e9}]{0,2}";
    prop_oneof![
        2 => "[pq]?".prop_map(|source| field(2, source.as_bytes())),
        1 => (0..5_u8).prop_map(|kind| vec![3 << 3, kind]),
        1 => (0..6_u8).prop_map(|severity| vec![5 << 3, severity]),
        1 => short().prop_map(|summary| field(6, summary.as_bytes())),
        6 => ("[abc]{0,1}", short()).prop_map(|(name, value)| entry(7, &name, &value)),
        2 => ("[abc]{1,2}", short()).prop_map(|(name, value)| entry(8, &name, &value)),
        1 => short().prop_map(|key| field(9, key.as_bytes())),
        1 => (short(), short()).prop_map(|(rel, href)| entry(12, &rel, &href)),
        1 => (0..3_u8).prop_map(|value| vec![14 << 3, value]),
        1 => Just(field(7, b"\x0a\x01a\x12\x02\xff\xfe")),
        1 => Just([&[0x8a, 0x00][..], &field(1, b"late id")[1..]].concat()),
    ]
}

/// A field that differs from repeat to repeat.
fn hole() -> impl Strategy<Value = Vec<u8>> {
    let seconds = received_at().as_micros() / 1_000_000;
    let times = move || (-100_000..1_000_i64, prop_oneof![Just(0), 0..1_000_000_000_i32, Just(-1)]);
    prop_oneof![
        3 => "[xy\u{e9}]{0,3}".prop_map(|id| field(1, id.as_bytes())),
        1 => Just(field(1, "x".repeat(130).as_bytes())),
        1 => Just(field(1, b"\xff")),
        3 => (0..4_u8).prop_map(|status| vec![4 << 3, status]),
        4 => times().prop_map(move |(at, nanos)| time(10, seconds + at, nanos)),
        3 => times().prop_map(move |(at, nanos)| time(11, seconds + at, nanos)),
        1 => Just(vec![10 << 3, 1]),
    ]
}

/// Which alert is sent, with what in its holes and where they are, and what else is done to it.
#[derive(Clone, Debug)]
struct Sending {
    alert: usize,
    holes: Vec<(usize, Vec<u8>)>,
    swap: Option<(usize, usize)>,
    edit: Option<(prop::sample::Index, u8)>,
}

fn sending() -> impl Strategy<Value = Sending> {
    // Most holes are where they always are.
    let holes = prop::collection::vec((prop_oneof![4 => Just(3), 1 => 0..8_usize], hole()), 0..4);
    let swap = prop::option::weighted(0.15, (0..6_usize, 0..6_usize));
    let edit = prop::option::weighted(0.15, (any::<prop::sample::Index>(), any::<u8>()));
    (0..4_usize, holes, swap, edit).prop_map(|(alert, holes, swap, edit)| Sending { alert, holes, swap, edit })
}

fn event(alerts: &[Vec<Vec<u8>>], sending: &Sending) -> Vec<u8> {
    let mut fields = alerts[sending.alert % alerts.len()].clone();
    if let Some((a, b)) = sending.swap.filter(|(a, b)| *a.max(b) < fields.len()) {
        fields.swap(a, b);
    }
    for (place, hole) in &sending.holes {
        fields.insert((*place).min(fields.len()), hole.clone());
    }
    let mut bytes = fields.concat();
    if let Some((at, byte)) = sending.edit.filter(|_| !bytes.is_empty()) {
        let at = at.index(bytes.len());
        bytes[at] = byte;
    }
    bytes
}

fn configs() -> [NormaliseConfig; 4] {
    let tight = Limits { labels: 2, label_value_bytes: ByteSize(2), event_bytes: ByteSize(60), ..Limits::default() };
    let labels = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    [
        NormaliseConfig::default(),
        NormaliseConfig { limits: tight, ..NormaliseConfig::default() },
        NormaliseConfig { fingerprint_labels: Some(labels(&["a", "c"])), ..NormaliseConfig::default() },
        NormaliseConfig { scope: labels(&["b"]), ..NormaliseConfig::default() },
    ]
}

fn request(alerts: &[Vec<Vec<u8>>], sendings: &[Sending]) -> Vec<u8> {
    sendings.iter().flat_map(|sending| field(1, &event(alerts, sending))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
    #[test]
    fn what_is_recognised_is_what_would_have_been_read(
        alerts in prop::collection::vec(prop::collection::vec(fixed_field(), 1..9), 1..4),
        bodies in prop::collection::vec((prop::collection::vec(sending(), 1..6), 0..3_usize), 1..8),
        reload in prop::option::of((0..16_usize, 0..4_usize)),
    ) {
        let configs = configs();
        let mut config = &configs[0];
        let (mut plain, mut knowing) = (Door::new(config, None), Door::new(config, Some(Memo::default())));
        // Every request comes several times, so that most of it is recognised in the end.
        for (place, (sendings, source)) in bodies.iter().cycle().take(bodies.len() * 4).enumerate() {
            if let Some((_, new)) = reload.filter(|(at, _)| *at == place) {
                config = &configs[new];
                (plain, knowing) = (Door::new(config, None), Door::new(config, Some(Memo::default())));
            }
            let (body, now) = (request(&alerts, sendings), received_at());
            let source = ["", "grafana", "zabbix"][*source];
            let (expected, _) = plain.take(&body, Shape::Many, source, now);
            let (taken, _) = knowing.take(&body, Shape::Many, source, now);
            prop_assert_eq!(&taken, &expected);
            let single = event(&alerts, &sendings[0]);
            let (expected, _) = plain.take(&single, Shape::One, source, now);
            let (taken, _) = knowing.take(&single, Shape::One, source, now);
            prop_assert_eq!(&taken, &expected);
        }
    }
}

/// An alert with labels that come unsorted, and everything else that can be said.
fn alert(number: usize, second: i64) -> Vec<u8> {
    let seconds = received_at().as_micros() / 1_000_000 - 600 + second;
    let id = format!("m-{number}-{second}");
    let fields = [
        field(1, id.as_bytes()),
        field(2, b"prometheus"),
        vec![4 << 3, if second % 3 == 0 { 2 } else { 1 }, 5 << 3, 1],
        field(6, "it burns \u{1f525}".as_bytes()),
        entry(7, "service", "checkout"),
        entry(7, "host", &format!("web-{number}")),
        entry(8, "runbook", "https://example.org/"),
        // Its length differs from second to second.
        time(10, seconds, (second * 99_000_000 % 1_000_000_000) as i32),
        time(11, seconds + 900, 0),
        entry(12, "graph", "https://example.org/graph"),
    ];
    field(1, &fields.concat())
}

#[test]
fn repeats_are_recognised_once_they_came_twice_in_whatever_order() {
    let (mut plain, mut knowing) = (Door::new(&configs()[0], None), Door::new(&configs()[0], Some(Memo::default())));
    let mut seen = Vec::new();
    for second in 0..10_i64 {
        let rotated = (0..50).map(|place| (place * (2 * second as usize + 1)) % 50);
        let body: Vec<u8> = rotated.flat_map(|number| alert(number, second)).collect();
        let (expected, _) = plain.take(&body, Shape::Many, "", received_at());
        let (taken, recognised) = knowing.take(&body, Shape::Many, "", received_at());
        assert_eq!(taken, expected);
        assert!(taken.rejects.is_empty(), "{:?}", taken.rejects);
        seen.push(recognised);
    }
    assert_eq!(seen[..2], [0, 0], "the bytes must come twice first");
    assert!(seen[2..].iter().all(|recognised| *recognised >= 10), "{seen:?}");
}

#[test]
fn a_full_memo_makes_room_when_others_repeat() {
    let (mut plain, mut knowing) = (Door::new(&configs()[0], None), Door::new(&configs()[0], Some(Memo::default())));
    let pass = |door: &mut Door, alerts: std::ops::Range<usize>, second: i64| -> usize {
        let bodies = alerts.collect::<Vec<_>>();
        let bodies = bodies.chunks(500).map(|run| run.iter().flat_map(|at| alert(*at, second)).collect::<Vec<u8>>());
        bodies.map(|body| door.take(&body, Shape::Many, "", received_at()).1).sum()
    };
    for second in 1..4 {
        pass(&mut knowing, 0..16_384, second);
    }
    assert!(pass(&mut knowing, 0..16_384, 4) > 8_000, "as many as find room are recognised");
    // Others, few enough that their bytes are noticed to repeat.
    let recognised: Vec<usize> = (5..20).map(|second| pass(&mut knowing, 100_000..105_000, second)).collect();
    assert!(recognised.last().is_some_and(|last| *last > 4_000), "{recognised:?}");
    let body = alert(100_001, 30);
    let at = received_at();
    assert_eq!(knowing.take(&body, Shape::Many, "", at).0, plain.take(&body, Shape::Many, "", at).0);
}
