//! Every metric of the daemon: declared here, handed around as one [`Metrics`] value, rendered for Prometheus.
//!
//! There is no process-wide recorder, so several daemons run in one test process. Labels come from closed sets and
//! from configured names (sources, sinks, topics), never from events. Counters are moved once per batch.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dashmap::DashMap;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

/// Outcomes of an event, in the order of the engine's `Outcome`.
pub const VERDICTS: [&str; 10] =
    ["opened", "linked", "updated", "resolved", "duplicate", "suppressed", "pending", "recorded", "stale", "rejected"];

/// What happens to incidents, by the public names of the deliveries' actions.
const TRANSITIONS: [&str; 8] =
    ["opened", "updated", "linked", "escalated", "acknowledged", "resolved", "reopened", "closed"];
const SILENCE_STATES: [&str; 3] = ["pending", "active", "expired"];
/// Why alerts are muted, by the codes of the engine's reasons.
const SUPPRESSION_REASONS: [&str; 3] = ["silenced", "inhibited", "maintenance"];
/// The targets of an incident, how they end, and of which priority, by the public names of the engine's.
const TARGETS: [&str; 2] = ["respond", "resolve"];
const TARGET_RESULTS: [&str; 2] = ["met", "breached"];
const PRIORITIES: [&str; 5] = ["P1", "P2", "P3", "P4", "P5"];
const DELIVERY_RESULTS: [&str; 4] = ["delivered", "failed", "folded", "parked"];

const SECONDS: [f64; 14] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];
const COMMIT_EVENTS: [f64; 9] = [1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0];

const METADATA: Metadata<'static> = Metadata::new("incidentd", Level::INFO, Some("incidentd"));

/// All metrics. Cheap to share by `Arc`.
pub struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    received: DashMap<Arc<str>, Counter>,
    received_sum: AtomicU64,
    verdicts: [Counter; 10],
    verdict_sum: AtomicU64,
    in_flight_now: AtomicI64,
    in_flight: Gauge,
    process: Mutex<metrics_process::Collector>,
    /// Received → decided and durable, one sample a request and shard.
    pub decision_seconds: Histogram,
    /// One transaction, sync included.
    pub commit_seconds: Histogram,
    /// Events made durable by one transaction.
    pub commit_events: Histogram,
    /// Commits that failed and were tried again.
    pub commit_failures: Counter,
    /// 1 while commits succeed.
    pub commit_healthy: Gauge,
    /// Journal bytes written.
    pub journal_bytes: Counter,
    /// 1 when the last reload was accepted.
    pub reload_successful: Gauge,
    /// When the last accepted reload happened.
    pub reload_timestamp: Gauge,
    /// Requests refused because the queues were full.
    pub overloads: Counter,
    /// Events whose time lay outside the sane range.
    pub clamped: Counter,
    /// Producer ids dropped early because the dedup horizon was full.
    pub dedup_overflow: Counter,
    /// Changes forgotten early because there were too many.
    pub changes_overflow: Counter,
    /// Services visited by walks over the catalogue.
    pub topology_visits: Counter,
    /// Alerts that no rule wanted.
    pub no_rule: Counter,
    /// Events that were not taken because a bound of the engine is reached.
    pub limit_reached: Counter,
    /// Alertmanager severities that the map does not know.
    pub unknown_severities: Counter,
    /// Events that lack a label which is configured as part of their identity.
    pub key_labels_missing: Counter,
    /// Maintenance windows that are open.
    pub maintenance_open: Gauge,
}

/// What went against a law of the engine. Stays 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invariant {
    /// Received = verdicts + in flight.
    Conservation,
}

impl Invariant {
    /// The metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Invariant::Conservation => "conservation",
        }
    }
}

/// A recorder with our buckets.
fn recorder() -> PrometheusRecorder {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Full("incidentd_commit_events".to_owned()), &COMMIT_EVENTS)
        })
        .expect("the buckets are not empty")
        .build_recorder()
}

impl Metrics {
    /// A fresh registry with every metric described and every closed label set at zero.
    pub fn new() -> Arc<Self> {
        let recorder = recorder();
        describe(&recorder);
        let counter = |name, labels| recorder.register_counter(&Key::from_parts(name, labels), &METADATA);
        let gauge = |name| recorder.register_gauge(&Key::from_name(name), &METADATA);
        let histogram = |name| recorder.register_histogram(&Key::from_name(name), &METADATA);
        let plain = |name| counter(name, Vec::<Label>::new());
        let verdicts = VERDICTS.map(|verdict| counter("incidentd_events_total", vec![Label::new("verdict", verdict)]));
        let violations = vec![Label::new("invariant", Invariant::Conservation.as_str())];
        counter("incidentd_invariant_violations_total", violations).absolute(0);
        for transition in TRANSITIONS {
            counter("incidentd_incident_transitions_total", vec![Label::new("transition", transition)]).absolute(0);
        }
        let version = vec![Label::new("version", env!("CARGO_PKG_VERSION"))];
        recorder.register_gauge(&Key::from_parts("incidentd_build_info", version), &METADATA).set(1.0);
        verdicts.iter().for_each(|counter| counter.absolute(0));
        let metrics = Self {
            handle: recorder.handle(),
            received: DashMap::new(),
            received_sum: AtomicU64::new(0),
            verdicts,
            verdict_sum: AtomicU64::new(0),
            in_flight_now: AtomicI64::new(0),
            in_flight: gauge("incidentd_events_in_flight"),
            process: Mutex::new(metrics_process::Collector::default()),
            decision_seconds: histogram("incidentd_decision_seconds"),
            commit_seconds: histogram("incidentd_commit_seconds"),
            commit_events: histogram("incidentd_commit_events"),
            commit_failures: plain("incidentd_commit_failures_total"),
            commit_healthy: gauge("incidentd_commit_healthy"),
            journal_bytes: plain("incidentd_journal_bytes_total"),
            reload_successful: gauge("incidentd_config_last_reload_successful"),
            reload_timestamp: gauge("incidentd_config_last_reload_success_timestamp_seconds"),
            overloads: plain("incidentd_overload_refusals_total"),
            clamped: plain("incidentd_events_clamped_total"),
            dedup_overflow: plain("incidentd_dedup_overflow_total"),
            changes_overflow: plain("incidentd_changes_overflow_total"),
            topology_visits: plain("incidentd_topology_visits_total"),
            no_rule: plain("incidentd_no_rule_total"),
            limit_reached: plain("incidentd_limit_reached_total"),
            unknown_severities: plain("incidentd_unknown_severity_total"),
            key_labels_missing: plain("incidentd_key_label_missing_total"),
            maintenance_open: gauge("incidentd_maintenance_windows_open"),
            recorder,
        };
        metrics.in_flight.set(0.0);
        metrics.commit_healthy.set(1.0);
        metrics.set_silences([0; 3]);
        metrics.set_problems(0);
        metrics.set_suppressed([0; 3]);
        metrics.show_targets();
        for counter in [
            &metrics.commit_failures,
            &metrics.journal_bytes,
            &metrics.overloads,
            &metrics.clamped,
            &metrics.dedup_overflow,
            &metrics.changes_overflow,
            &metrics.topology_visits,
            &metrics.no_rule,
            &metrics.limit_reached,
            &metrics.unknown_severities,
            &metrics.key_labels_missing,
        ] {
            counter.absolute(0);
        }
        Arc::new(metrics)
    }

    fn counter(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Counter {
        self.recorder.register_counter(&Key::from_parts(name, owned(labels)), &METADATA)
    }

    fn gauge(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Gauge {
        self.recorder.register_gauge(&Key::from_parts(name, owned(labels)), &METADATA)
    }

    /// Counts events as received by `source` (a configured name or `grpc`, `http`, `alertmanager`). Every one of them
    /// is in flight until [`Metrics::answered`].
    pub fn received(&self, source: &Arc<str>, events: u64) {
        self.received_sum.fetch_add(events, Ordering::AcqRel);
        self.in_flight_now.fetch_add(events as i64, Ordering::AcqRel);
        let counter = self
            .received
            .entry(source.clone())
            .or_insert_with(|| self.counter("incidentd_events_received_total", &[("source", source)]));
        counter.increment(events);
    }

    /// Counts verdicts, in the order of [`VERDICTS`]. Called where they are reached: by the doors for what they refuse,
    /// by the committer for all else.
    pub fn decided(&self, verdicts: &[u64; 10]) {
        let sum = verdicts.iter().sum::<u64>();
        for (counter, count) in self.verdicts.iter().zip(verdicts) {
            if *count > 0 {
                counter.increment(*count);
            }
        }
        self.verdict_sum.fetch_add(sum, Ordering::AcqRel);
    }

    /// Counts events whose verdicts have reached their door, whether or not the producer is still there. Counted apart
    /// from the verdicts, so that the conservation law compares two independent sums.
    pub fn answered(&self, events: u64) {
        self.in_flight_now.fetch_sub(events as i64, Ordering::AcqRel);
    }

    /// Counts events that were received and never decided, because their request was given up before it was
    /// submitted: overload, a stream that broke. They are taken back from `received`.
    pub fn withdrawn(&self, source: &Arc<str>, events: u64) {
        // A counter never falls, so the events count as rejected: the producer was told that they were not taken.
        let mut verdicts = [0; 10];
        verdicts[9] = events;
        tracing::debug!(source = &**source, events, "events withdrawn before they were decided");
        self.decided(&verdicts);
        self.answered(events);
    }

    /// Received, verdicts, in flight, each counted on its own.
    pub fn conservation(&self) -> (u64, u64, i64) {
        let verdicts = self.verdict_sum.load(Ordering::Acquire);
        let in_flight = self.in_flight_now.load(Ordering::Acquire);
        (self.received_sum.load(Ordering::Acquire), verdicts, in_flight)
    }

    /// Counts a broken law. An operator is needed.
    pub fn violated(&self, invariant: Invariant) {
        self.counter("incidentd_invariant_violations_total", &[("invariant", invariant.as_str())]).increment(1);
    }

    /// Alerts by state: `firing`, `resolved`, `stale`.
    pub fn set_alerts(&self, state: &'static str, alerts: f64) {
        self.gauge("incidentd_alerts", &[("state", state)]).set(alerts);
    }

    /// Problems, by status.
    pub fn set_problems(&self, open: u64) {
        self.gauge("incidentd_problems", &[("status", "open")]).set(open as f64);
    }

    /// Silences: pending, active, expired.
    pub fn set_silences(&self, silences: [u64; 3]) {
        for (state, silences) in SILENCE_STATES.iter().zip(silences) {
            self.gauge("incidentd_silences", &[("state", state)]).set(silences as f64);
        }
    }

    /// Bytes of hot state, by part.
    pub fn set_state_bytes(&self, parts: impl Iterator<Item = (&'static str, u64)>) {
        for (part, bytes) in parts {
            self.gauge("incidentd_state_bytes", &[("part", part)]).set(bytes as f64);
        }
    }

    /// Muted alerts: silenced, inhibited, maintenance.
    pub fn set_suppressed(&self, alerts: [u64; 3]) {
        for (reason, alerts) in SUPPRESSION_REASONS.iter().zip(alerts) {
            self.gauge("incidentd_alerts_suppressed", &[("reason", reason)]).set(alerts as f64);
        }
    }

    /// Incidents by status and priority, closed ones not counted.
    pub fn set_incidents(&self, status: &'static str, priority: &'static str, incidents: f64) {
        self.gauge("incidentd_incidents", &[("status", status), ("priority", priority)]).set(incidents);
    }

    /// Counts a transition of an incident by its public name.
    pub fn transition(&self, transition: &'static str, by: u64) {
        self.counter("incidentd_incident_transitions_total", &[("transition", transition)]).increment(by);
    }

    /// Counts a target of an incident that was met or breached.
    pub fn target(&self, target: &'static str, result: &'static str, priority: &'static str, by: u64) {
        let labels = [("target", target), ("result", result), ("priority", priority)];
        self.counter("incidentd_targets_total", &labels).increment(by);
    }

    /// Counts a warning that a target of an incident comes near.
    pub fn target_warning(&self, target: &'static str, priority: &'static str, by: u64) {
        let labels = [("target", target), ("priority", priority)];
        self.counter("incidentd_target_warnings_total", &labels).increment(by);
    }

    /// Shows every counter of targets at zero, so that the first breach is seen as an increase.
    fn show_targets(&self) {
        for (target, priority) in TARGETS.iter().flat_map(|target| PRIORITIES.map(|priority| (*target, priority))) {
            TARGET_RESULTS.iter().for_each(|result| self.target(target, result, priority, 0));
            self.target_warning(target, priority, 0);
        }
    }

    /// Counts alerts that a rule could not take, because a label of its `group_by` is missing.
    pub fn label_missing(&self, rule: &str, by: u64) {
        self.counter("incidentd_label_missing_total", &[("rule", rule)]).increment(by);
    }

    /// How often the condition of a rule could not be evaluated, since the start.
    pub fn set_rule_errors(&self, rule: &str, errors: u64) {
        self.counter("incidentd_rule_errors_total", &[("rule", rule)]).absolute(errors);
    }

    /// Shows every result of a sink's deliveries at zero, so that the first of them is seen as an increase.
    pub fn sink_started(&self, sink: &str) {
        DELIVERY_RESULTS.iter().for_each(|result| self.delivery(sink, result, 0));
        self.set_breaker_open(sink, false);
    }

    /// Shows the counters of a Kafka source at zero, so that the first increase is seen as one.
    pub fn kafka_source_started(&self, source: &str) {
        self.dead_letters(source, 0);
        self.kafka_gap(source, 0);
    }

    /// Counts a delivery attempt's result: `delivered`, `failed`, `folded`, `parked`.
    pub fn delivery(&self, sink: &str, result: &'static str, by: u64) {
        self.counter("incidentd_deliveries_total", &[("sink", sink), ("result", result)]).increment(by);
    }

    /// How many deliveries wait for a sink.
    pub fn set_delivery_backlog(&self, sink: &str, waiting: f64) {
        self.gauge("incidentd_delivery_backlog", &[("sink", sink)]).set(waiting);
    }

    /// Decision → confirmed by the sink.
    pub fn delivery_seconds(&self, sink: &str, took: Duration) {
        let key = Key::from_parts("incidentd_delivery_seconds", owned(&[("sink", sink)]));
        self.recorder.register_histogram(&key, &METADATA).record(took.as_secs_f64());
    }

    /// 1 while a sink's circuit breaker lets nothing through.
    pub fn set_breaker_open(&self, sink: &str, open: bool) {
        self.gauge("incidentd_sink_breaker_open", &[("sink", sink)]).set(f64::from(u8::from(open)));
    }

    /// Records not yet applied: high watermark − our position.
    pub fn set_kafka_lag(&self, topic: &str, partition: i32, lag: f64) {
        self.gauge("incidentd_kafka_lag", &[("topic", topic), ("partition", &partition.to_string())]).set(lag);
    }

    /// Counts records written to a dead-letter topic.
    pub fn dead_letters(&self, source: &str, by: u64) {
        self.counter("incidentd_dead_letters_total", &[("source", source)]).increment(by);
    }

    /// Counts records that a Kafka topic had dropped before they were read.
    pub fn kafka_gap(&self, source: &str, records: u64) {
        self.counter("incidentd_kafka_gap_records_total", &[("source", source)]).increment(records);
    }

    /// Counts Kafka rebalances by kind: `assigned`, `revoked`, `lost`.
    pub fn rebalance(&self, source: &str, kind: &'static str) {
        self.counter("incidentd_kafka_rebalances_total", &[("source", source), ("kind", kind)]).increment(1);
    }

    /// The Prometheus text exposition.
    pub fn render(&self) -> String {
        self.in_flight.set(self.in_flight_now.load(Ordering::Acquire) as f64);
        metrics::with_local_recorder(&self.recorder, || {
            if let Ok(process) = self.process.lock() {
                process.collect();
            }
        });
        self.handle.render()
    }

    /// Drains histogram samples; to be called every few seconds, else they pile up.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

fn owned(labels: &[(&'static str, &str)]) -> Vec<Label> {
    labels.iter().map(|(name, value)| Label::new(*name, (*value).to_owned())).collect()
}

fn describe(recorder: &PrometheusRecorder) {
    const COUNTERS: [(&str, &str); 23] = [
        ("incidentd_events_received_total", "Events received, by source of intake"),
        ("incidentd_events_total", "Events decided, by verdict"),
        ("incidentd_incident_transitions_total", "Transitions of incidents"),
        ("incidentd_targets_total", "Targets of incidents met and breached, by target and priority"),
        ("incidentd_target_warnings_total", "Warnings that a target of an incident comes near"),
        ("incidentd_deliveries_total", "Deliveries to sinks, by result"),
        ("incidentd_invariant_violations_total", "Laws of the engine found broken; stays 0"),
        ("incidentd_commit_failures_total", "Commits that failed and were tried again"),
        ("incidentd_journal_bytes_total", "Bytes of hot state written to the journal"),
        ("incidentd_overload_refusals_total", "Requests refused because the queues were full"),
        ("incidentd_events_clamped_total", "Events whose time was replaced by the receive time"),
        ("incidentd_dedup_overflow_total", "Producer ids forgotten before the dedup horizon passed"),
        ("incidentd_changes_overflow_total", "Changes forgotten early because there were too many"),
        ("incidentd_topology_visits_total", "Services visited to find causes, symptoms and suspected changes"),
        ("incidentd_dead_letters_total", "Records written to a dead-letter topic"),
        ("incidentd_kafka_rebalances_total", "Rebalances of the Kafka consumer group seen"),
        ("incidentd_kafka_gap_records_total", "Records that a topic had dropped before they were read"),
        ("incidentd_key_label_missing_total", "Events that lack a label configured as part of their identity"),
        ("incidentd_no_rule_total", "Alerts that no rule wanted"),
        ("incidentd_limit_reached_total", "Events not taken because max_alerts, max_groups or max_keys is reached"),
        ("incidentd_label_missing_total", "Alerts that a rule could not take because a group_by label is missing"),
        ("incidentd_rule_errors_total", "Alerts for which the condition of a rule could not be evaluated"),
        ("incidentd_unknown_severity_total", "Alertmanager severities that the map does not know, taken as warning"),
    ];
    const GAUGES: [(&str, &str); 15] = [
        ("incidentd_events_in_flight", "Events received and not yet decided"),
        ("incidentd_alerts", "Alerts held, by state"),
        ("incidentd_problems", "Problems, by status; closed ones are in the store alone"),
        ("incidentd_silences", "Silences remembered, by state"),
        ("incidentd_alerts_suppressed", "Alerts that fire and are muted, by the reason that is named"),
        ("incidentd_incidents", "Incidents that are not closed, by status and priority"),
        ("incidentd_delivery_backlog", "Deliveries that wait for a sink"),
        ("incidentd_sink_breaker_open", "1 while a sink's circuit breaker lets nothing through"),
        ("incidentd_kafka_lag", "Records not yet applied"),
        ("incidentd_config_last_reload_successful", "1 when the last configuration reload was accepted"),
        ("incidentd_config_last_reload_success_timestamp_seconds", "When a configuration was last accepted"),
        ("incidentd_build_info", "The version that runs"),
        ("incidentd_state_bytes", "Bytes of hot state, by part"),
        ("incidentd_maintenance_windows_open", "Maintenance windows that are open"),
        ("incidentd_commit_healthy", "1 while commits succeed"),
    ];
    const HISTOGRAMS: [(&str, &str); 4] = [
        ("incidentd_decision_seconds", "From receipt to durable decision, by request"),
        ("incidentd_commit_seconds", "One transaction, sync included"),
        ("incidentd_commit_events", "Events made durable by one transaction"),
        ("incidentd_delivery_seconds", "From decision to confirmation by the sink"),
    ];
    for (name, help) in COUNTERS {
        recorder.describe_counter(KeyName::from_const_str(name), Some(Unit::Count), help.into());
    }
    for (name, help) in GAUGES {
        recorder.describe_gauge(KeyName::from_const_str(name), None, help.into());
    }
    for (name, help) in HISTOGRAMS {
        recorder.describe_histogram(KeyName::from_const_str(name), None, help.into());
    }
    metrics::with_local_recorder(recorder, metrics_process::Collector::default_describe);
}

trait DefaultDescribe {
    fn default_describe();
}

impl DefaultDescribe for metrics_process::Collector {
    fn default_describe() {
        metrics_process::Collector::default().describe();
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").field("conservation", &self.conservation()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alerted_on_is_there_at_zero_before_it_first_happens() {
        let metrics = Metrics::new();
        metrics.sink_started("ops");
        metrics.kafka_source_started("alerts");
        let text = metrics.render();
        for line in [
            "incidentd_commit_healthy 1",
            "incidentd_commit_failures_total 0",
            r#"incidentd_invariant_violations_total{invariant="conservation"} 0"#,
            r#"incidentd_incident_transitions_total{transition="opened"} 0"#,
            r#"incidentd_deliveries_total{sink="ops",result="parked"} 0"#,
            r#"incidentd_sink_breaker_open{sink="ops"} 0"#,
            r#"incidentd_dead_letters_total{source="alerts"} 0"#,
            r#"incidentd_kafka_gap_records_total{source="alerts"} 0"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
