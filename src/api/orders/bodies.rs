//! What each order is made of, as JSON: one struct per kind of body, and the [`Order`] that it stands for.
//!
//! Members that are not known are refused. How long a text may be is the engine's matter (`engine::desk`).

use schemars::JsonSchema;
use serde::Deserialize;

use crate::engine::desk::Order;
use crate::rules::{Level, Priority};

/// An order as it was sent.
#[derive(Debug, PartialEq)]
pub(super) struct Sent {
    /// What is ordered.
    pub(super) order: Order,
    /// Which version is meant, where only that one is.
    pub(super) version: Option<u64>,
    /// Who orders it.
    pub(super) by: Option<String>,
}

/// An order that says nothing further.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PlainBody {
    /// The version of the incident that is known; 409 where it is another.
    version: Option<u64>,
    /// Who orders it, for the timeline; default `api`. Cut after 64 characters.
    by: Option<String>,
}

impl PlainBody {
    fn sent(self, order: Order) -> Sent {
        Sent { order, version: self.version, by: self.by }
    }

    pub(super) fn acknowledge(self) -> Sent {
        self.sent(Order::Acknowledge)
    }

    pub(super) fn start(self) -> Sent {
        self.sent(Order::Start)
    }

    pub(super) fn resume(self) -> Sent {
        self.sent(Order::Resume)
    }

    pub(super) fn accept(self) -> Sent {
        self.sent(Order::Accept)
    }
}

/// An order that must be explained.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReasonBody {
    /// Why, in words; not empty, at most 10 KiB.
    reason: String,
    /// The version of the incident that is known; 409 where it is another.
    version: Option<u64>,
    /// Who orders it, for the timeline; default `api`. Cut after 64 characters.
    by: Option<String>,
}

impl ReasonBody {
    fn sent(self, order: impl FnOnce(String) -> Order) -> Sent {
        Sent { order: order(self.reason), version: self.version, by: self.by }
    }

    pub(super) fn hold(self) -> Sent {
        self.sent(|reason| Order::Hold { reason })
    }

    pub(super) fn reopen(self) -> Sent {
        self.sent(|reason| Order::Reopen { reason })
    }

    pub(super) fn escalate(self) -> Sent {
        self.sent(|reason| Order::Escalate { reason })
    }

    pub(super) fn major(self) -> Sent {
        self.sent(|reason| Order::DeclareMajor { reason })
    }

    pub(super) fn stand_down(self) -> Sent {
        self.sent(|reason| Order::StandDown { reason })
    }
}

/// That it is over.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResolveBody {
    /// Even where alerts still fire; without it they are named and nothing is resolved.
    #[serde(default)]
    force: bool,
    /// How it ended, in words; at most 10 KiB.
    #[serde(default)]
    resolution: String,
    /// The version of the incident that is known; 409 where it is another.
    version: Option<u64>,
    /// Who orders it, for the timeline; default `api`. Cut after 64 characters.
    by: Option<String>,
}

impl ResolveBody {
    pub(super) fn resolve(self) -> Sent {
        let Self { force, resolution, version, by } = self;
        Sent { order: Order::Resolve { force, resolution }, version, by }
    }
}

/// That it is final.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CloseBody {
    /// How it ended, in words; at most 10 KiB. What was said when it was resolved stays where this is empty.
    #[serde(default)]
    resolution: String,
    /// The version of the incident that is known; 409 where it is another.
    version: Option<u64>,
    /// Who orders it, for the timeline; default `api`. Cut after 64 characters.
    by: Option<String>,
}

impl CloseBody {
    pub(super) fn close(self) -> Sent {
        let Self { resolution, version, by } = self;
        Sent { order: Order::Close { resolution }, version, by }
    }
}

/// Who is to have it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AssignBody {
    /// A team or a supplier; one of `teams` where the configuration has any.
    team: String,
    /// Why, in words; at most 10 KiB.
    #[serde(default)]
    reason: String,
    /// The version of the incident that is known; 409 where it is another.
    version: Option<u64>,
    /// Who orders it, for the timeline; default `api`. Cut after 64 characters.
    by: Option<String>,
}

impl AssignBody {
    pub(super) fn assign(self) -> Sent {
        let Self { team, reason, version, by } = self;
        Sent { order: Order::Assign { to: team, reason }, version, by }
    }
}

/// What is written down, or told.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NoteBody {
    /// What, in words; not empty, at most 10 KiB.
    text: String,
    /// `internal` (for the team, the default), `public`, or the name of a configured audience.
    #[serde(default = "internal")]
    audience: String,
    /// The version of the incident that is known; 409 where it is another.
    version: Option<u64>,
    /// Who writes it, for the timeline; default `api`. Cut after 64 characters.
    by: Option<String>,
}

fn internal() -> String {
    "internal".to_owned()
}

impl NoteBody {
    pub(super) fn note(self) -> Sent {
        let Self { text, audience, version, by } = self;
        Sent { order: Order::Note { text, audience }, version, by }
    }
}

/// What it is linked to.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LinkBody {
    /// The type of the link, such as `change` or `duplicate_of`.
    #[serde(rename = "type")]
    kind: String,
    /// An incident, or whatever the type links to.
    target: String,
    /// Why, in words; at most 10 KiB.
    #[serde(default)]
    reason: String,
    /// The version of the incident that is known; 409 where it is another.
    version: Option<u64>,
    /// Who orders it, for the timeline; default `api`. Cut after 64 characters.
    by: Option<String>,
}

impl LinkBody {
    pub(super) fn link(self) -> Sent {
        let Self { kind, target, reason, version, by } = self;
        Sent { order: Order::Link { kind, target, reason }, version, by }
    }
}

/// What it is linked to no more.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UnlinkBody {
    /// The type of the link.
    #[serde(rename = "type")]
    kind: String,
    /// Its target.
    target: String,
    /// The version of the incident that is known; 409 where it is another.
    version: Option<u64>,
    /// Who orders it, for the timeline; default `api`. Cut after 64 characters.
    by: Option<String>,
}

impl UnlinkBody {
    pub(super) fn unlink(self) -> Sent {
        let Self { kind, target, version, by } = self;
        Sent { order: Order::Unlink { kind, target }, version, by }
    }
}

/// How grave it is, by hand.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PriorityBody {
    /// How much it hurts.
    impact: Option<Level>,
    /// How fast it must be answered.
    urgency: Option<Level>,
    /// The priority itself, whatever impact and urgency give.
    priority: Option<Priority>,
    /// Why, in words; not empty, at most 10 KiB.
    reason: String,
    /// The version of the incident that is known; 409 where it is another.
    version: Option<u64>,
    /// Who orders it, for the timeline; default `api`. Cut after 64 characters.
    by: Option<String>,
}

impl PriorityBody {
    pub(super) fn reprioritise(self) -> Sent {
        let Self { impact, urgency, priority, reason, version, by } = self;
        Sent { order: Order::Reprioritise { impact, urgency, priority, reason }, version, by }
    }
}
