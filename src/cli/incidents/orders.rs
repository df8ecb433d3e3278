//! `incidentd incidents ack|start|hold|…`: what operators order about one incident, each command one route of the API.

use serde_json::{Map, Value, json};

use super::order::{OrderArgs, order};
use crate::cli::Failure;

#[derive(Clone, Debug, clap::Subcommand)]
pub enum OrderCommand {
    /// Take an incident: somebody looks after it now.
    #[command(visible_alias = "acknowledge", after_help = "Example:\n  incidentd incidents ack INC-0A1B2C3D4E5F6")]
    Ack(OrderArgs),
    /// Begin to work on it.
    #[command(after_help = "Example:\n  incidentd incidents start INC-0A1B2C3D4E5F6")]
    Start(OrderArgs),
    /// Let work wait for something outside; the clocks of its targets stand still.
    #[command(
        after_help = "Example:\n  incidentd incidents hold INC-0A1B2C3D4E5F6 --reason \"the supplier sends a new disk\""
    )]
    Hold(ReasonArgs),
    /// Go on with what was on hold.
    #[command(after_help = "Example:\n  incidentd incidents resume INC-0A1B2C3D4E5F6")]
    Resume(OrderArgs),
    /// Say that it is over. Where alerts still fire they are named, and --force is asked for.
    #[command(
        after_help = "Example:\n  incidentd incidents resolve INC-0A1B2C3D4E5F6 --resolution \"rolled back 4.2\""
    )]
    Resolve(ResolveArgs),
    /// Make a resolved incident final.
    #[command(after_help = "Example:\n  incidentd incidents close INC-0A1B2C3D4E5F6")]
    Close(CloseArgs),
    /// Bring a resolved incident back.
    #[command(
        after_help = "Example:\n  incidentd incidents reopen INC-0A1B2C3D4E5F6 --reason \"customers still wait\""
    )]
    Reopen(ReasonArgs),
    /// Give it to a team or a supplier.
    #[command(after_help = "Example:\n  incidentd incidents assign INC-0A1B2C3D4E5F6 team-payments")]
    Assign(AssignArgs),
    /// Take on what was assigned, for the assignee.
    #[command(after_help = "Example:\n  incidentd incidents accept INC-0A1B2C3D4E5F6 --by ann")]
    Accept(OrderArgs),
    /// Write something down, or tell an audience how it stands.
    #[command(
        after_help = "Examples:\n  incidentd incidents note INC-0A1B2C3D4E5F6 \"the pool is exhausted\"\n  incidentd incidents note INC-0A1B2C3D4E5F6 \"payments are delayed\" --audience public"
    )]
    Note(NoteArgs),
    /// Link it to a change, a problem, another incident, …
    #[command(after_help = "Example:\n  incidentd incidents link INC-0A1B2C3D4E5F6 change CHG-42")]
    Link(LinkArgs),
    /// Take a link off again.
    #[command(after_help = "Example:\n  incidentd incidents unlink INC-0A1B2C3D4E5F6 change CHG-42")]
    Unlink(UnlinkArgs),
    /// Take the next step of its escalation policy now.
    #[command(after_help = "Example:\n  incidentd incidents escalate INC-0A1B2C3D4E5F6 --reason \"nobody answers\"")]
    Escalate(ReasonArgs),
    /// Declare it a major incident.
    #[command(after_help = "Example:\n  incidentd incidents major INC-0A1B2C3D4E5F6 --reason \"nobody can pay\"")]
    Major(ReasonArgs),
    /// Say that it is a major incident no more.
    #[command(
        after_help = "Example:\n  incidentd incidents stand-down INC-0A1B2C3D4E5F6 --reason \"payments work again\""
    )]
    StandDown(ReasonArgs),
    /// Set impact, urgency or the priority itself by hand.
    #[command(
        after_help = "Example:\n  incidentd incidents priority INC-0A1B2C3D4E5F6 --impact high --reason \"payday\""
    )]
    Priority(PriorityArgs),
}

#[derive(Clone, Debug, clap::Args)]
pub struct ReasonArgs {
    #[command(flatten)]
    order: OrderArgs,
    /// Why, for whoever reads the timeline.
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    reason: String,
}

#[derive(Clone, Debug, clap::Args)]
pub struct ResolveArgs {
    #[command(flatten)]
    order: OrderArgs,
    /// How it ended.
    #[arg(long, value_name = "TEXT")]
    resolution: Option<String>,
    /// Even where alerts still fire.
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Debug, clap::Args)]
pub struct CloseArgs {
    #[command(flatten)]
    order: OrderArgs,
    /// How it ended, where that was not said before.
    #[arg(long, value_name = "TEXT")]
    resolution: Option<String>,
}

#[derive(Clone, Debug, clap::Args)]
pub struct AssignArgs {
    #[command(flatten)]
    order: OrderArgs,
    /// The team or supplier.
    #[arg(value_name = "TEAM", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    team: String,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Clone, Debug, clap::Args)]
pub struct NoteArgs {
    #[command(flatten)]
    order: OrderArgs,
    /// What.
    #[arg(value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    text: String,
    /// Whom it is for: internal, which tells nobody, or a configured audience, which is told.
    #[arg(long, value_name = "NAME", default_value = "internal")]
    audience: String,
}

#[derive(Clone, Debug, clap::Args)]
pub struct LinkArgs {
    #[command(flatten)]
    order: OrderArgs,
    /// The type of the link, such as change, problem, duplicate_of, caused_by, related.
    #[arg(value_name = "TYPE")]
    kind: String,
    /// An incident, or whatever the type links to.
    #[arg(value_name = "TARGET")]
    target: String,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Clone, Debug, clap::Args)]
pub struct UnlinkArgs {
    #[command(flatten)]
    order: OrderArgs,
    /// The type of the link.
    #[arg(value_name = "TYPE")]
    kind: String,
    /// Its target.
    #[arg(value_name = "TARGET")]
    target: String,
}

#[derive(Clone, Debug, clap::Args)]
#[group(id = "what", required = true, multiple = true, args = ["impact", "urgency", "priority"])]
pub struct PriorityArgs {
    #[command(flatten)]
    order: OrderArgs,
    /// How much it hurts.
    #[arg(long, value_parser = ["high", "medium", "low"])]
    impact: Option<String>,
    /// How fast it must be answered.
    #[arg(long, value_parser = ["high", "medium", "low"])]
    urgency: Option<String>,
    /// The priority itself, whatever impact and urgency give.
    #[arg(long, value_parser = ["P1", "P2", "P3", "P4", "P5"])]
    priority: Option<String>,
    /// Why, for whoever reads the timeline.
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    reason: String,
}

/// A body of what was given.
fn body<'a>(members: impl IntoIterator<Item = (&'a str, Option<&'a String>)>) -> Value {
    let given = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?))));
    Value::Object(given.collect::<Map<_, _>>())
}

impl OrderCommand {
    /// Runs it.
    ///
    /// # Errors
    /// When the daemon cannot be reached or refuses, or there is no such incident.
    pub async fn run(self) -> Result<(), Failure> {
        let (args, what, body, told) = self.parts();
        order(&args, what, body, &told).await
    }

    /// The terms, the last part of the route, the body, and what was done in words.
    fn parts(self) -> (OrderArgs, &'static str, Value, String) {
        // Long because it is the list of all orders.
        let plain = |args: OrderArgs, what: &'static str, told: &str| (args, what, json!({}), told.to_owned());
        let why = |ReasonArgs { order, reason }: ReasonArgs, what: &'static str, told: &str| {
            (order, what, body([("reason", Some(&reason))]), told.to_owned())
        };
        match self {
            Self::Ack(args) => plain(args, "acknowledge", "taken"),
            Self::Start(args) => plain(args, "start", "work has begun"),
            Self::Hold(args) => why(args, "hold", "work waits"),
            Self::Resume(args) => plain(args, "resume", "work goes on"),
            Self::Resolve(ResolveArgs { order, resolution, force }) => {
                let mut body = body([("resolution", resolution.as_ref())]);
                body["force"] = force.into();
                (order, "resolve", body, "it is over".to_owned())
            }
            Self::Close(CloseArgs { order, resolution }) => {
                (order, "close", body([("resolution", resolution.as_ref())]), "it is final".to_owned())
            }
            Self::Reopen(args) => why(args, "reopen", "it is back"),
            Self::Assign(AssignArgs { order, team, reason }) => {
                let told = format!("assigned to {team}");
                (order, "assign", body([("team", Some(&team)), ("reason", reason.as_ref())]), told)
            }
            Self::Accept(args) => plain(args, "accept", "taken on"),
            Self::Note(NoteArgs { order, text, audience }) => {
                let told =
                    if audience == "internal" { "noted".to_owned() } else { format!("status update for {audience}") };
                (order, "notes", body([("text", Some(&text)), ("audience", Some(&audience))]), told)
            }
            Self::Link(LinkArgs { order, kind, target, reason }) => {
                let told = format!("linked to {kind} {target}");
                let members = [("type", Some(&kind)), ("target", Some(&target)), ("reason", reason.as_ref())];
                (order, "links", body(members), told)
            }
            Self::Unlink(UnlinkArgs { order, kind, target }) => {
                let told = format!("no longer linked to {kind} {target}");
                (order, "unlink", body([("type", Some(&kind)), ("target", Some(&target))]), told)
            }
            Self::Escalate(args) => why(args, "escalate", "escalated"),
            Self::Major(args) => why(args, "major", "it is a major incident"),
            Self::StandDown(args) => why(args, "stand-down", "it is a major incident no more"),
            Self::Priority(PriorityArgs { order, impact, urgency, priority, reason }) => {
                let levels = [("impact", impact.as_ref()), ("urgency", urgency.as_ref())];
                let others = [("priority", priority.as_ref()), ("reason", Some(&reason))];
                (order, "priority", body(levels.into_iter().chain(others)), "its priority is set".to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        command: OrderCommand,
    }

    #[test]
    fn every_command_becomes_its_route_and_body() {
        for (line, what, body) in [
            (vec!["ack"], "acknowledge", json!({})),
            (vec!["acknowledge"], "acknowledge", json!({})),
            (vec!["start"], "start", json!({})),
            (vec!["hold", "--reason", "r"], "hold", json!({"reason": "r"})),
            (vec!["resume"], "resume", json!({})),
            (vec!["resolve"], "resolve", json!({"force": false})),
            (vec!["resolve", "--force", "--resolution", "r"], "resolve", json!({"force": true, "resolution": "r"})),
            (vec!["close", "--resolution", "r"], "close", json!({"resolution": "r"})),
            (vec!["reopen", "--reason", "r"], "reopen", json!({"reason": "r"})),
            (vec!["assign", "net"], "assign", json!({"team": "net"})),
            (vec!["accept"], "accept", json!({})),
            (vec!["note", "n"], "notes", json!({"text": "n", "audience": "internal"})),
            (vec!["link", "change", "C"], "links", json!({"type": "change", "target": "C"})),
            (vec!["unlink", "change", "C"], "unlink", json!({"type": "change", "target": "C"})),
            (vec!["escalate", "--reason", "r"], "escalate", json!({"reason": "r"})),
            (vec!["major", "--reason", "r"], "major", json!({"reason": "r"})),
            (vec!["stand-down", "--reason", "r"], "stand-down", json!({"reason": "r"})),
            (
                vec!["priority", "--priority", "P1", "--reason", "r"],
                "priority",
                json!({"priority": "P1", "reason": "r"}),
            ),
        ] {
            let (command, rest) = line.split_first().unwrap();
            let typed: Vec<&str> = ["incidents", command, "INC-1"].iter().chain(rest).copied().collect();
            let Line { command } = Line::try_parse_from(typed).unwrap_or_else(|error| panic!("{error}"));
            let (args, found, sent, _) = command.parts();
            assert_eq!((args.id.as_str(), found, sent), ("INC-1", what, body), "{line:?}");
        }
    }
}
