//! What scenarios configure beside rules, services and what mutes: under `with`, alike for a scenario and a reload.

use incidentd::rules::{
    AgreementConfig, CalendarConfig, CommunicationConfig, DeadlineConfigs, Definition, EscalationPolicyConfig,
    ImpactRisesConfig, MajorIncidentConfig, ProblemsConfig, RuleConfig, Share, TargetsConfig, TeamConfig,
    UrgencyRisesConfig,
};
use serde::Deserialize;

/// See the module.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Parts {
    /// Sinks beside the usual one; rules that name none tell the usual one and these.
    sinks: Vec<String>,
    escalation_policies: Vec<EscalationPolicyConfig>,
    major_incident: Option<MajorIncidentConfig>,
    calendars: Vec<CalendarConfig>,
    agreements: Vec<AgreementConfig>,
    teams: Vec<TeamConfig>,
    priority: Priorities,
    /// Who is told by status updates, and how often.
    communication: CommunicationConfig,
    problems: Option<ProblemsConfig>,
}

/// What raises priorities, and what is agreed for them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Priorities {
    targets: TargetsConfig,
    warn_at: Vec<Share>,
    pause_while_muted: bool,
    impact: ImpactRisesConfig,
    urgency: UrgencyRisesConfig,
}

impl Parts {
    /// The names of all sinks.
    pub fn sinks(&self, usual: &str) -> Vec<String> {
        std::iter::once(usual.to_owned()).chain(self.sinks.iter().cloned()).collect()
    }

    /// The definition of these rules with all of this.
    pub fn define<'a>(&'a self, rules: &'a [RuleConfig], sinks: &'a [String]) -> Definition<'a> {
        let Priorities { targets, warn_at, pause_while_muted, impact, urgency } = &self.priority;
        let deadlines = DeadlineConfigs {
            calendars: &self.calendars,
            targets,
            agreements: &self.agreements,
            warn_at,
            pause_while_muted: *pause_while_muted,
        };
        let (teams, communication, problems) = (&self.teams[..], &self.communication, self.problems.as_ref());
        let (escalation_policies, major_incident) = (&self.escalation_policies[..], self.major_incident.as_ref());
        Definition {
            deadlines,
            teams,
            communication,
            problems,
            impact,
            urgency,
            escalation_policies,
            major_incident,
            ..Definition::of(rules, sinks)
        }
    }
}
