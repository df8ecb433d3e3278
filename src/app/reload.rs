//! A new configuration for a running daemon: all that can fail first, then one part after the other.
//!
//! Rules, sinks, Kafka sources, limits and times follow at once; a source or sink that did not change is not
//! interrupted. `listen`, `data_dir`, `scope` and `shards` need a restart, and the report says so.

use std::sync::Arc;

use super::housekeeping::fingerprint;
use super::{RunningSource, Shared, Source, build_sinks, load};
use crate::api::Reloaded;
use crate::config::Config;
use crate::engine::{EngineConfig, SourceLateness};
use crate::formats::Decoder;
use crate::ingest::{Memos, Settings};
use crate::normalise::{EventTime, NormaliseConfig, Normaliser};

/// The engine's part of a configuration.
pub(super) fn engine_config(config: &Config) -> EngineConfig {
    EngineConfig {
        resolve_timeout: config.resolve_timeout,
        lateness: config.lateness,
        source_lateness: source_lateness(config),
        dedup_horizon: config.dedup.horizon,
        dedup_max_ids: config.dedup.max_ids as usize,
        max_alerts: config.max_alerts as usize,
        max_groups: config.max_groups as usize,
    }
}

fn source_lateness(config: &Config) -> SourceLateness {
    let kafka = config.sources.kafka.iter();
    let by_kafka = kafka.filter_map(|source| Some((source.name.clone(), source.lateness?))).collect();
    SourceLateness::new(config.source_lateness.clone(), by_kafka)
}

/// The doors' part of a configuration.
pub(super) fn intake_settings(config: &Config) -> Settings {
    let normalise = NormaliseConfig {
        event_time: EventTime { max_age: config.event_time.max_age, max_ahead: config.event_time.max_ahead },
        fingerprint_labels: config.fingerprint_labels.clone(),
        scope: config.scope.clone(),
        limits: config.limits.clone(),
    };
    let severities = config.sources.alertmanager.severities.clone();
    Settings {
        limits: config.limits.clone(),
        decoder: Decoder::new(config.limits.clone(), severities),
        normaliser: Normaliser::new(normalise),
        resolve_timeout: config.resolve_timeout,
        memos: Memos::default(),
    }
}

impl Shared {
    /// Loads the configuration anew: what changed, or the problems of one that was refused.
    pub(crate) async fn reload(&self) -> Result<Reloaded, Vec<String>> {
        let mut current = self.config.lock().await;
        // Before the file is read: a change in between is then noticed by the next look.
        self.last_read.set(fingerprint(&self.source, &self.last_read).await);
        let outcome = self.try_reload(&mut current).await;
        match &outcome {
            Ok(report) => {
                self.metrics.reload_successful.set(1.0);
                self.metrics.reload_timestamp.set(self.clock.now().as_secs_f64());
                for line in &report.windows {
                    tracing::info!(
                        rule = &*line.rule,
                        kept = line.kept,
                        migrated = line.migrated,
                        dropped = line.dropped,
                        retired = line.retired,
                        "windows of a rule after the reload"
                    );
                }
                tracing::info!(report = report.to_string(), "configuration reloaded");
            }
            Err(problems) => {
                self.metrics.reload_successful.set(0.0);
                tracing::error!(problems = problems.join("; "), "configuration refused; the old one stays in force");
            }
        }
        outcome
    }

    async fn try_reload(&self, current: &mut Config) -> Result<Reloaded, Vec<String>> {
        if matches!(self.source, Source::Fixed(_)) {
            return Err(vec!["the daemon runs without a configuration file; start it with --config FILE".to_owned()]);
        }
        let wanted = load(&self.source, &self.overrides)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let mut new = wanted.clone();
        let fixed = keep_fixed(current, &mut new);
        let rules = Arc::new(new.rule_set().0);
        let sinks = build_sinks(&new, &self.clock).map_err(|error| vec![error])?;

        self.intake.reload(intake_settings(&new));
        let windows =
            self.router.reload(&rules, &engine_config(&new)).await.map_err(|error| vec![error.to_string()])?;
        self.outbox.reload(sinks);
        let trouble = self.reload_kafka(&new).await;
        trouble.iter().for_each(|problem| tracing::error!(problem, "a Kafka source could not be started"));
        *current = new;
        Ok(Reloaded { rules: rules.rules.len(), windows: windows.rules, restart_needed: fixed, not_started: trouble })
    }

    /// Stops sources that are gone or changed, starts those that are new or changed, and leaves the others alone.
    async fn reload_kafka(&self, new: &Config) -> Vec<String> {
        let mut running = self.kafka.lock().await;
        let (mut kept, mut ended): (Vec<RunningSource>, Vec<RunningSource>) =
            running.drain(..).partition(|source| new.sources.kafka.contains(&source.config));
        for source in ended.drain(..) {
            source.handle.stop(new.shutdown_grace).await;
        }
        let mut trouble = Vec::new();
        for config in &new.sources.kafka {
            if kept.iter().any(|source| source.config == *config) {
                continue;
            }
            match self.start_source(config.clone()) {
                Ok(source) => kept.push(source),
                Err(error) => trouble.push(error),
            }
        }
        *running = kept;
        trouble
    }
}

/// Puts back what cannot change while the daemon runs, and names it.
fn keep_fixed(current: &Config, new: &mut Config) -> Vec<&'static str> {
    let mut fixed = Vec::new();
    if new.listen != current.listen {
        new.listen = current.listen;
        fixed.push("listen");
    }
    if new.data_dir != current.data_dir {
        new.data_dir.clone_from(&current.data_dir);
        fixed.push("data_dir");
    }
    if new.scope != current.scope {
        new.scope.clone_from(&current.scope);
        fixed.push("scope");
    }
    if new.shards != current.shards {
        new.shards = current.shards;
        fixed.push("shards");
    }
    fixed
}
