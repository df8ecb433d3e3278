//! The alerts that fire, as Alertmanager's API shows them: what mutes each, and where it is correlated.
//!
//! Only reads; asked for by people and programs, never on an event's way, and in slices.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::engine::alert::{Alert, AlertState};
use crate::engine::group::RETIRED;
use crate::engine::memory::interner::Symbol;
use crate::engine::shard::Shard;
use crate::event::{Severity, Timestamp};
use crate::identity::IncidentId;

/// The link relation that Alertmanager's `generatorURL` becomes.
const GENERATOR: &str = "generator";

/// Whether an alert that fires reaches its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertViewState {
    /// It does.
    Active,
    /// It is muted.
    Suppressed,
}

/// An alert that fires.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AlertView {
    /// Identity and correlation.
    pub labels: BTreeMap<String, String>,
    /// Descriptive only.
    pub annotations: BTreeMap<String, String>,
    /// How bad.
    pub severity: Severity,
    /// The monitoring system.
    pub source: String,
    /// One line for people.
    pub summary: String,
    /// Alertmanager's fingerprint over the labels, 16 hex digits.
    pub fingerprint: String,
    /// When the first event of it happened.
    pub starts_at: Timestamp,
    /// When the last event of it happened.
    pub updated_at: Timestamp,
    /// When its lease ends.
    pub ends_at: Timestamp,
    /// Whether it is muted.
    pub state: AlertViewState,
    /// Ids of the silences that mute it, at most 16.
    pub silenced_by: Vec<String>,
    /// Fingerprints of the alerts that inhibit it, at most [`INHIBITED_BY_MAX`].
    pub inhibited_by: Vec<String>,
    /// Names of the maintenance windows that mute it.
    pub muted_by: Vec<String>,
    /// The incidents that it is linked to.
    pub incidents: Vec<IncidentId>,
    /// The rules whose groups it is in, each with the labels that make the group's key.
    pub rules: Vec<(Arc<str>, BTreeMap<String, String>)>,
    /// Where the rule that fires can be looked at, empty where the producer does not say.
    pub generator_url: String,
}

/// Inhibiting alerts that are named of one alert; thousands may inhibit it together.
pub const INHIBITED_BY_MAX: usize = 16;

/// Alerts that are looked at together, so that events do not wait: by guess 10 ms.
pub const ALERTS_SLICE: u32 = 4_096;

impl Shard {
    /// Every alert that fires, in no order; for where nobody waits meanwhile.
    pub fn alerts(&self, _now: Timestamp) -> Vec<AlertView> {
        let starts = (0..self.alerts.slots.end()).step_by(ALERTS_SLICE as usize);
        starts.flat_map(|from| self.alerts_from(from).0).collect()
    }

    /// The alerts that fire among the [`ALERTS_SLICE`] places from `from` on, and where the next ones are. Who looks at one
    /// slice after the other, with events in between, sees every alert that fires all the while.
    pub fn alerts_from(&self, from: u32) -> (Vec<AlertView>, Option<u32>) {
        let next = from.saturating_add(ALERTS_SLICE);
        let slots =
            (from..next.min(self.alerts.slots.end())).filter_map(|slot| Some((slot, self.alerts.slots.get(slot)?)));
        let firing = slots.filter(|(_, alert)| alert.state == AlertState::Firing);
        let views = firing.map(|(slot, alert)| self.alert_view(slot, alert)).collect();
        (views, (next < self.alerts.slots.end()).then_some(next))
    }

    fn alert_view(&self, slot: u32, alert: &Alert) -> AlertView {
        let text = |symbol: Option<Symbol>| symbol.map_or(String::new(), |symbol| self.names.text(symbol).to_owned());
        let causes = self.suppression.causes.get(&slot);
        let silences = causes.into_iter().flat_map(|causes| &causes.silences);
        let silences = silences.filter_map(|silence| self.suppression.silences.get(*silence));
        let silenced_by = silences.map(|silence| silence.name.to_string()).collect();
        let inhibitors = self.suppression.inhibitors.inhibitors(slot, INHIBITED_BY_MAX);
        let window = causes.and_then(|causes| self.window_name(causes.window?));
        let generator = alert.texts.links().iter().find(|(rel, _)| self.names.text(*rel) == GENERATOR);
        AlertView {
            labels: self.pairs(alert.texts.labels()),
            annotations: self.pairs(alert.texts.annotations()),
            severity: alert.severity,
            source: text(alert.texts.source),
            summary: text(alert.texts.summary),
            fingerprint: self.fingerprint_text(slot),
            starts_at: alert.first_seen,
            updated_at: alert.last_seen,
            ends_at: alert.until,
            state: if alert.mark.muted { AlertViewState::Suppressed } else { AlertViewState::Active },
            silenced_by,
            inhibited_by: inhibitors.into_iter().map(|slot| self.fingerprint_text(slot)).collect(),
            muted_by: window.into_iter().map(|name| name.to_string()).collect(),
            incidents: self.incidents_of(alert),
            rules: self.rules_of(alert),
            generator_url: text(generator.map(|(_, href)| *href)),
        }
    }

    fn fingerprint_text(&self, slot: u32) -> String {
        format!("{:016x}", self.fingerprint_of(&self.alerts.slots[slot]))
    }

    fn pairs(&self, pairs: &[(Symbol, Symbol)]) -> BTreeMap<String, String> {
        let text = |symbol: &Symbol| self.names.text(*symbol).to_owned();
        pairs.iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    fn incidents_of(&self, alert: &Alert) -> Vec<IncidentId> {
        let linked = alert.memberships.iter().filter(|membership| membership.linked);
        let incidents = linked.filter_map(|membership| self.groups.slots[membership.group].incident.as_deref());
        incidents.map(|incident| incident.id).collect()
    }

    fn rules_of(&self, alert: &Alert) -> Vec<(Arc<str>, BTreeMap<String, String>)> {
        let groups = alert.memberships.iter().filter(|membership| membership.firing);
        let groups = groups.map(|membership| &self.groups.slots[membership.group]);
        let key = |key: &[(Symbol, Option<Symbol>)]| {
            let there: Vec<(Symbol, Symbol)> =
                key.iter().filter_map(|(name, value)| Some((*name, (*value)?))).collect();
            self.pairs(&there)
        };
        let named = groups.filter(|group| group.rule != RETIRED || group.incident.is_some());
        named.map(|group| (group.rule_name.clone(), key(&group.key))).collect()
    }
}
