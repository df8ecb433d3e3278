//! The night of the demo: a core switch fails at 3 a.m., and everything that watches anything says so.
//!
//! Made from a fixed seed, so every run sends the same events. One second of play is one minute of the night.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use crate::cli::send::wire_time;
use crate::event::Timestamp;
use crate::proto::{Event, Kind, Link, Severity, Status};

const SEED: u64 = 0x0003_0a00_c0a1_e5ce;
/// One event in so many is sent twice, as producers do that saw no answer.
const RESEND_ONE_IN: u64 = 14;

const SWITCH: &str = "core-sw-r12";
const RACKS: u64 = 8;
const HOSTS_PER_RACK: u64 = 60;

/// When the night begins, in minutes since midnight.
const BEGINS_AT_MINUTE: u64 = 2 * 60 + 58;

/// A night's events, in the order in which they are sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Storm {
    /// What is sent when.
    pub events: Vec<Sent>,
}

/// One event and when it is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    /// When it is sent, since the beginning.
    pub at: Duration,
    happened: Duration,
    event: Event,
}

/// A turn of the story.
#[derive(Clone, Copy, Debug)]
pub struct Act {
    /// When, since the beginning, in milliseconds.
    pub at_ms: u64,
    /// What happens.
    pub what: &'static str,
}

/// The story, as it is told beside the events.
pub const ACTS: [Act; 6] = [
    Act { at_ms: 0, what: "a quiet night: hundreds of checks chatter, nobody needs to hear them" },
    Act { at_ms: 800, what: "a certificate nears its end, a disk begins to stutter" },
    Act { at_ms: 2_000, what: "core-sw-r12 restarts for a firmware change and does not come back" },
    Act { at_ms: 3_500, what: "replicas lose their primaries, and customers wait at the checkout" },
    Act { at_ms: 9_000, what: "the standby switch takes over: hosts answer, services recover" },
    Act { at_ms: 14_000, what: "the checkout's caches are cold: it slows down once more" },
];

/// What an alert says of itself, each time it is sent.
struct Check {
    source: &'static str,
    name: &'static str,
    severity: Severity,
    summary: String,
    labels: Vec<(&'static str, String)>,
    annotations: Vec<(&'static str, String)>,
    links: Vec<Link>,
}

/// From when to when an alert fires, and how often it says so. In milliseconds.
#[derive(Clone, Copy)]
struct Firing {
    from: u64,
    until: u64,
    every: u64,
    resolves: bool,
}

/// SplitMix64, by Sebastiano Vigna (public domain): small, and the same on every machine.
struct Dice(u64);

struct Night {
    dice: Dice,
    events: Vec<Sent>,
}

impl Storm {
    /// The night.
    pub fn night() -> Self {
        let mut night = Night { dice: Dice(SEED), events: Vec::new() };
        night.chatter();
        night.slow_jobs();
        night.certificate_and_disk();
        night.switch_and_hosts();
        night.replicas();
        night.services();
        night.oddities();
        Self { events: night.finish() }
    }

    /// How many different alerts the valid events tell of.
    pub fn alerts(&self) -> usize {
        let alerts =
            self.events.iter().filter(|sent| sent.event.kind() == Kind::Alert && !sent.event.source.is_empty());
        let identity = |sent: &Sent| {
            let labels: BTreeMap<String, String> = sent.event.labels.clone().into_iter().collect();
            (sent.event.source.clone(), labels)
        };
        alerts.map(identity).collect::<HashSet<_>>().len()
    }

    /// When the last event is sent.
    pub fn length(&self) -> Duration {
        self.events.last().map_or(Duration::ZERO, |sent| sent.at)
    }
}

impl Sent {
    /// The event of a night that began then.
    pub fn event(&self, began: Timestamp) -> Event {
        let mut event = self.event.clone();
        event.occurred_at = Some(wire_time(began.plus(self.happened)));
        // The broken producer of `Night::oddities` writes the end of a lease before its beginning.
        event.ends_at = event.ends_at.map(|_| wire_time(began.minus(Duration::from_secs(3_600))));
        event
    }
}

/// The time of the night at which something happens that long after the beginning.
pub fn clock(since: Duration) -> String {
    let minute = BEGINS_AT_MINUTE + since.as_secs();
    format!("{:02}:{:02}", minute / 60 % 24, minute % 60)
}

impl Night {
    /// Info alerts that no rule wants, and signs of life of the collectors.
    fn chatter(&mut self) {
        const CHECKS: [&str; 6] = ["DiskUsage", "LoginSeen", "JobFinished", "CacheWarm", "BackupDone", "PodRestarted"];
        for number in 0..300 {
            let name = CHECKS[number % CHECKS.len()];
            let host = format!("app-{:03}", number / CHECKS.len());
            let check = Check {
                severity: Severity::Info,
                labels: vec![("host", host.clone())],
                ..Check::new("prometheus", name, format!("{name} on {host}"))
            };
            let from = self.dice.below(1_800);
            self.fires(&check, Firing { from, until: 15_000, every: 1_800, resolves: false });
        }
        for collector in 0..8 {
            let check = Check::new("collector", "Alive", format!("collector {collector} is alive"));
            let check = Check { labels: vec![("collector", collector.to_string())], ..check };
            for beat in 0..30 {
                self.send(&check, beat * 500 + collector, |event| event.set_kind(Kind::Heartbeat));
            }
        }
    }

    /// Three slow jobs: one rule waits for five.
    fn slow_jobs(&mut self) {
        for job in ["billing", "export", "reindex"] {
            let check = Check {
                labels: vec![("job", job.to_owned()), ("queue", "nightly".to_owned())],
                ..Check::new("prometheus", "JobSlow", format!("job {job} takes longer than usual"))
            };
            let from = 1_000 + self.dice.below(4_000);
            self.fires(&check, Firing { from, until: 12_000, every: 3_000, resolves: true });
        }
    }

    fn certificate_and_disk(&mut self) {
        let check = Check {
            labels: vec![("domain", "shop.example.org".to_owned())],
            annotations: vec![("days_left", "6".to_owned())],
            ..Check::new("certwatch", "CertificateExpiresSoon", "shop.example.org expires in 6 days".to_owned())
        };
        self.fires(&check, Firing { from: 800, until: 15_000, every: 5_000, resolves: false });
        let check = Check {
            labels: vec![("host", "db-07".to_owned()), ("device", "nvme1n1".to_owned())],
            ..Check::new("zabbix", "DiskErrors", "nvme1n1 reports media errors".to_owned())
        };
        for stutter in 0..24 {
            let from = 1_000 + stutter * 380;
            self.fires(&check, Firing { from, until: from + 150, every: 1_000, resolves: true });
        }
    }

    /// The cause, and the hundreds of alerts that it makes.
    fn switch_and_hosts(&mut self) {
        let change = Check {
            labels: vec![("host", SWITCH.to_owned())],
            ..Check::new("netops", "FirmwareChange", format!("CHG-1042: firmware of {SWITCH}"))
        };
        self.send(&change, 1_900, |event| event.set_kind(Kind::Change));
        let switch = Check {
            severity: Severity::Critical,
            labels: vec![("host", SWITCH.to_owned()), ("uplink", SWITCH.to_owned()), ("rack", "r12".to_owned())],
            links: vec![Link {
                rel: "runbook".to_owned(),
                href: "https://runbooks.example.org/core-switch".to_owned(),
            }],
            ..Check::new("zabbix", "SwitchDown", format!("{SWITCH} does not answer"))
        };
        self.fires(&switch, Firing { from: 2_000, until: 9_000, every: 250, resolves: true });
        for host in 0..RACKS * HOSTS_PER_RACK {
            let (rack, number) = (9 + host / HOSTS_PER_RACK, host % HOSTS_PER_RACK);
            let name = format!("node-r{rack:02}-{number:02}");
            let check = Check {
                severity: Severity::Critical,
                labels: vec![("host", name.clone()), ("rack", format!("r{rack:02}")), ("uplink", SWITCH.to_owned())],
                links: runbook(),
                ..Check::new("prometheus", "HostUnreachable", format!("{name} does not answer"))
            };
            let (from, until) = (2_200 + self.dice.below(2_600), 9_000 + self.dice.below(1_500));
            self.fires(&check, Firing { from, until, every: 235, resolves: true });
        }
    }

    fn replicas(&mut self) {
        for replica in 1..=12 {
            let name = format!("orders-replica-{replica:02}");
            let check = Check {
                severity: Severity::Error,
                labels: vec![("cluster", "orders".to_owned()), ("host", name.clone())],
                ..Check::new("pgwatch", "ReplicaLag", format!("{name} is 45 s behind its primary"))
            };
            let (from, until) = (3_500 + self.dice.below(1_000), 9_800 + self.dice.below(1_000));
            self.fires(&check, Firing { from, until, every: 500, resolves: true });
        }
    }

    fn services(&mut self) {
        let services = [
            ("checkout", 48, Severity::Critical, 3_900),
            ("payments", 24, Severity::Error, 4_600),
            ("search", 24, Severity::Error, 5_100),
        ];
        for (service, instances, severity, begins) in services {
            for instance in 0..instances {
                let check = Check {
                    severity,
                    labels: vec![("service", service.to_owned()), ("instance", format!("{service}-{instance:02}"))],
                    ..Check::new("prometheus", "LatencyHigh", format!("{service}: p95 above 2 s"))
                };
                let (from, until) = (begins + self.dice.below(1_200), 10_200 + self.dice.below(800));
                self.fires(&check, Firing { from, until, every: 300, resolves: true });
                if service == "checkout" && instance < 12 {
                    let from = 14_000 + self.dice.below(200);
                    self.fires(&check, Firing { from, until: from + 700, every: 300, resolves: true });
                }
            }
        }
    }

    /// What every real stream has: broken producers, and news from long ago.
    fn oddities(&mut self) {
        let nameless = Check::new("", "HostUnreachable", "a producer that does not say who it is".to_owned());
        self.send(&nameless, 5_000, |_| {});
        let backwards = Check::new("cronwatch", "JobSlow", "a lease that ends before it begins".to_owned());
        self.send(&backwards, 6_000, |event| event.ends_at = Some(prost_types::Timestamp::default()));
        for number in 0..5 {
            let name = format!("node-r12-{number:02}");
            let check = Check {
                severity: Severity::Critical,
                labels: vec![("host", name.clone()), ("rack", "r12".to_owned()), ("uplink", SWITCH.to_owned())],
                ..Check::new("prometheus", "HostUnreachable", format!("{name} answers"))
            };
            // A resolve from before the outage that was stuck in a queue: it must not clear the alert.
            self.send(&check, 7_000 + number * 10, |event| event.set_status(Status::Resolved));
            if let Some(sent) = self.events.last_mut() {
                sent.happened = Duration::from_millis(1_000);
            }
        }
    }

    fn fires(&mut self, check: &Check, firing: Firing) {
        let mut at = firing.from;
        while at < firing.until {
            self.send(check, at, |_| {});
            at += firing.every * 9 / 10 + self.dice.below(firing.every / 5 + 1);
        }
        if firing.resolves {
            self.send(check, firing.until, |event| event.set_status(Status::Resolved));
        }
    }

    fn send(&mut self, check: &Check, at_ms: u64, change: impl FnOnce(&mut Event)) {
        let mut event = check.event(self.events.len());
        change(&mut event);
        let at = Duration::from_millis(at_ms);
        self.events.push(Sent { at, happened: at, event });
    }

    /// Sends some events twice, and puts all in order.
    fn finish(mut self) -> Vec<Sent> {
        let twice: Vec<Sent> = self.events.iter().filter(|_| self.dice.below(RESEND_ONE_IN) == 0).cloned().collect();
        for mut sent in twice {
            sent.at += Duration::from_millis(100 + self.dice.below(900));
            self.events.push(sent);
        }
        self.events.sort_by(|one, other| (one.at, &one.event.id).cmp(&(other.at, &other.event.id)));
        self.events
    }
}

fn runbook() -> Vec<Link> {
    vec![Link { rel: "runbook".to_owned(), href: "https://runbooks.example.org/core-switch".to_owned() }]
}

impl Check {
    fn new(source: &'static str, name: &'static str, summary: String) -> Self {
        let (labels, annotations, links) = (Vec::new(), Vec::new(), Vec::new());
        Self { source, name, severity: Severity::Warning, summary, labels, annotations, links }
    }

    fn event(&self, number: usize) -> Event {
        let pairs = |pairs: &[(&str, String)]| -> HashMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
        };
        let mut labels = pairs(&self.labels);
        labels.insert("alertname".to_owned(), self.name.to_owned());
        labels.insert("env".to_owned(), "prod".to_owned());
        Event {
            id: format!("demo-{number:05}"),
            source: self.source.to_owned(),
            severity: self.severity.into(),
            kind: Kind::Alert.into(),
            status: Status::Firing.into(),
            summary: self.summary.clone(),
            labels,
            annotations: pairs(&self.annotations),
            links: self.links.clone(),
            ..Event::default()
        }
    }
}

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }
}

#[cfg(test)]
mod tests;
