//! `GET /api/v2/alerts` and `GET /api/v2/alerts/groups`: what fires, what mutes it, whom it is told to.
//!
//! Like Alertmanager, all that fires is given, in one answer. It is rendered in pieces on a thread that may block, and sent
//! piece by piece.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use schemars::JsonSchema;
use serde::Serialize;

use super::filter::{AlertFilters, Wanted};
use super::{ApiState, Fault, JSON, Millis, Named, Routing, Said};
use crate::engine::suppress::view::{AlertView, AlertViewState};
use crate::openapi::{Api, Operation};

/// About how much is handed to a connection at once.
const PIECE_BYTES: usize = 64 << 10;

/// An alert as Alertmanager shows it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GettableAlert")]
struct Gettable<'a> {
    annotations: &'a BTreeMap<String, String>,
    #[serde(rename = "endsAt")]
    ends_at: Millis,
    fingerprint: &'a str,
    receivers: Vec<Named<'a>>,
    #[serde(rename = "startsAt")]
    starts_at: Millis,
    status: Status<'a>,
    #[serde(rename = "updatedAt")]
    updated_at: Millis,
    #[serde(rename = "generatorURL", skip_serializing_if = "str::is_empty")]
    generator_url: &'a str,
    labels: &'a BTreeMap<String, String>,
}

/// What mutes an alert.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AlertStatus")]
struct Status<'a> {
    inhibited_by: &'a [String],
    muted_by: &'a [String],
    silenced_by: &'a [String],
    /// `active` or `suppressed`.
    state: &'static str,
}

/// Alerts that are told together.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AlertGroup")]
struct Group<'a> {
    alerts: Vec<Gettable<'a>>,
    labels: &'a BTreeMap<String, String>,
    receiver: Named<'a>,
}

/// The routes.
pub(super) fn api() -> Api<ApiState> {
    let answers = |operation: Operation| {
        operation
            .query::<AlertFilters>()
            .answer::<Said>(400, "a filter cannot be read")
            .answer::<Said>(500, "it failed on our side; the log says why")
            .answer::<Said>(503, "more than four such listings at a time for 10 s, or the daemon stops")
    };
    let list_is = Operation::new("getAlerts", "alertmanager", "what fires, as Alertmanager shows it")
        .answer::<Vec<Gettable<'_>>>(200, "all that fires, in one answer");
    let groups_is = Operation::new("getAlertGroups", "alertmanager", "what fires, by rule, key and sink")
        .answer::<Vec<Group<'_>>>(200, "all that fires, in one answer");
    Api::new().get("/api/v2/alerts", list, answers(list_is)).get("/api/v2/alerts/groups", groups, answers(groups_is))
}

/// `GET /api/v2/alerts`: by fingerprint.
pub(super) async fn list(State(state): State<ApiState>, uri: Uri) -> Result<Response, Fault> {
    let wanted = Wanted::of(&uri)?;
    answer(state, wanted, |views, routing, wanted, pieces| {
        let receivers = |view: &AlertView| wanted.takes_receivers(routing.of(view).into_iter());
        for view in views.iter().filter(|view| receivers(view)) {
            pieces.push(&gettable(view, routing))?;
        }
        Ok(())
    })
    .await
}

/// `GET /api/v2/alerts/groups`: one per rule, key and receiver, by key.
pub(super) async fn groups(State(state): State<ApiState>, uri: Uri) -> Result<Response, Fault> {
    let wanted = Wanted::of(&uri)?;
    answer(state, wanted, |views, routing, wanted, pieces| {
        for ((_, labels, receiver, _), alerts) in grouped(views, routing, wanted) {
            let alerts = alerts.into_iter().map(|view| gettable(view, routing)).collect();
            pieces.push(&Group { alerts, labels, receiver: Named { name: receiver } })?;
        }
        Ok(())
    })
    .await
}

/// Labels, receiver, rule; groups with fewer labels come first.
type GroupKey<'a> = (usize, &'a BTreeMap<String, String>, &'a str, &'a str);

fn grouped<'a>(
    views: &'a [AlertView],
    routing: &'a Routing,
    wanted: &Wanted,
) -> BTreeMap<GroupKey<'a>, Vec<&'a AlertView>> {
    let mut groups: BTreeMap<GroupKey<'_>, Vec<&AlertView>> = BTreeMap::new();
    for view in views {
        for (rule, key) in &view.rules {
            let receivers = routing.notify.get(rule).into_iter().flatten();
            for receiver in receivers.filter(|receiver| wanted.takes_receiver(receiver)) {
                groups.entry((key.len(), key, receiver, rule)).or_default().push(view);
            }
        }
    }
    groups.values_mut().for_each(|views| views.sort_by_key(|view| within_group(view)));
    groups
}

/// Alertmanager's order within a group: job, instance, then the other labels; what lacks one comes last.
fn within_group(view: &AlertView) -> impl Ord {
    let label = |name: &str| (!view.labels.contains_key(name), view.labels.get(name));
    (label("job"), label("instance"), view.labels.len(), &view.labels)
}

/// Looks at what fires, and renders it.
async fn answer(
    state: ApiState,
    wanted: Wanted,
    render: impl FnOnce(&[AlertView], &Routing, &Wanted, &mut Pieces) -> serde_json::Result<()> + Send + 'static,
) -> Result<Response, Fault> {
    let room = state.listings.enter().await?;
    let routing = (state.routing)().await;
    let mut views = Vec::new();
    let mut from = Some(0);
    while let Some(place) = from {
        let seen = state.router.look(move |shard, _| shard.alerts_from(place)).await;
        let seen = seen.map_err(|refused| Fault::refused(&refused))?;
        from = seen.iter().find_map(|(_, next)| *next);
        views.extend(seen.into_iter().flat_map(|(views, _)| views).filter_map(|view| wanted.choose(view)));
    }
    let rendered = tokio::task::spawn_blocking(move || {
        views.sort_by(|one, other| one.fingerprint.cmp(&other.fingerprint));
        let mut pieces = Pieces::default();
        render(&views, &routing, &wanted, &mut pieces)?;
        serde_json::Result::Ok(pieces.finish())
    });
    let pieces = rendered.await.map_err(|error| Fault::internal("the listing broke off", &error))?;
    let pieces = pieces.map_err(|error| Fault::internal("the alerts cannot be shown", &error))?;
    let sent = pieces.into_iter().map(move |piece| {
        // There is room for another listing once this one is sent, or whoever asked has gone.
        let _room = &room;
        Ok::<Bytes, Infallible>(piece)
    });
    Ok(([(header::CONTENT_TYPE, JSON)], Body::from_stream(stream::iter(sent))).into_response())
}

impl Wanted {
    /// An alert as it is shown, where it is asked for.
    fn choose(&self, mut view: AlertView) -> Option<AlertView> {
        complete(&mut view);
        let state = (self.active || view.state != AlertViewState::Active)
            && (self.silenced || view.silenced_by.is_empty())
            && (self.inhibited || view.inhibited_by.is_empty())
            && (self.muted || view.muted_by.is_empty());
        (state && self.takes(&view)).then_some(view)
    }
}

/// Fields of our own that clients look for among labels and annotations, where these have nothing of that name. Silences
/// match them under the same names.
fn complete(view: &mut AlertView) {
    view.labels.entry("severity".to_owned()).or_insert_with(|| view.severity.as_str().to_owned());
    if !view.source.is_empty() {
        view.labels.entry("source".to_owned()).or_insert_with(|| view.source.clone());
    }
    if !view.summary.is_empty() {
        view.annotations.entry("summary".to_owned()).or_insert_with(|| view.summary.clone());
    }
}

fn gettable<'a>(view: &'a AlertView, routing: &'a Routing) -> Gettable<'a> {
    let state = match view.state {
        AlertViewState::Active => "active",
        AlertViewState::Suppressed => "suppressed",
    };
    Gettable {
        annotations: &view.annotations,
        ends_at: Millis(view.ends_at),
        fingerprint: &view.fingerprint,
        receivers: routing.of(view).into_iter().map(|name| Named { name }).collect(),
        starts_at: Millis(view.starts_at),
        status: Status {
            inhibited_by: &view.inhibited_by,
            muted_by: &view.muted_by,
            silenced_by: &view.silenced_by,
            state,
        },
        updated_at: Millis(view.updated_at),
        generator_url: &view.generator_url,
        labels: &view.labels,
    }
}

impl Routing {
    /// The sinks that are told of an alert's incidents, each once, in the order of the rules.
    fn of(&self, view: &AlertView) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for name in view.rules.iter().filter_map(|(rule, _)| self.notify.get(rule)).flatten().map(Arc::as_ref) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

/// A JSON array in pieces.
#[derive(Default)]
struct Pieces {
    done: Vec<Bytes>,
    piece: Vec<u8>,
    begun: bool,
}

impl Pieces {
    fn push(&mut self, element: &impl Serialize) -> serde_json::Result<()> {
        self.piece.push(if std::mem::replace(&mut self.begun, true) { b',' } else { b'[' });
        serde_json::to_writer(&mut self.piece, element)?;
        if self.piece.len() >= PIECE_BYTES {
            self.done.push(Bytes::from(std::mem::take(&mut self.piece)));
        }
        Ok(())
    }

    fn finish(mut self) -> Vec<Bytes> {
        self.piece.extend_from_slice(if self.begun { b"]\n" } else { b"[]\n" });
        self.done.push(Bytes::from(self.piece));
        self.done
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::event::{Severity, Timestamp};

    fn view(fingerprint: &str, labels: &[(&str, &str)], rules: &[(&str, &[(&str, &str)])]) -> AlertView {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        AlertView {
            labels: map(labels),
            annotations: BTreeMap::new(),
            severity: Severity::Critical,
            source: "nagios".to_owned(),
            summary: "disk full".to_owned(),
            fingerprint: fingerprint.to_owned(),
            starts_at: Timestamp::from_micros(1_800_000_000_000_000),
            updated_at: Timestamp::from_micros(1_800_000_000_500_000),
            ends_at: Timestamp::from_micros(1_800_000_300_000_000),
            state: AlertViewState::Active,
            silenced_by: Vec::new(),
            inhibited_by: Vec::new(),
            muted_by: Vec::new(),
            incidents: Vec::new(),
            rules: rules.iter().map(|(rule, key)| ((*rule).into(), map(key))).collect(),
            generator_url: String::new(),
        }
    }

    fn routing() -> Routing {
        let names = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect();
        Routing {
            receivers: names(&["ops", "hook"]),
            notify: BTreeMap::from([("one".into(), names(&["ops"])), ("two".into(), names(&["hook", "ops"]))]),
        }
    }

    fn wanted(query: &str) -> Wanted {
        Wanted::of(&format!("/?{query}").parse().unwrap()).unwrap()
    }

    #[test]
    fn an_alert_has_alertmanagers_fields_and_our_own_where_it_lacks_them() {
        let chosen = wanted("").choose(view("2a", &[("host", "a"), ("severity", "page")], &[])).unwrap();
        let shown = serde_json::to_value(gettable(&chosen, &routing())).unwrap();
        assert_eq!(
            shown,
            json!({
                "annotations": {"summary": "disk full"}, "endsAt": "2027-01-15T08:05:00.000Z", "fingerprint": "2a",
                "receivers": [], "startsAt": "2027-01-15T08:00:00.000Z",
                "status": {"inhibitedBy": [], "mutedBy": [], "silencedBy": [], "state": "active"},
                "updatedAt": "2027-01-15T08:00:00.500Z",
                "labels": {"host": "a", "severity": "page", "source": "nagios"},
            })
        );
    }

    #[test]
    fn all_matchers_must_hold_for_what_is_shown() {
        let found = |query: &str| usize::from(wanted(query).choose(view("2a", &[("host", "a")], &[])).is_some());
        for (query, count) in [
            ("filter=severity%3Dcritical", 1),
            ("filter=source%3D~%22nag.*%22&filter=host%3Da", 1),
            ("filter=source%3D~%22nag.*%22&filter=host%3Db", 0),
            ("filter=service%3D%22%22", 1),
            ("filter=host%3D%22%22", 0),
            ("filter=service!%3Da", 1),
            ("filter=service%3D~.%2B", 0),
        ] {
            assert_eq!(found(query), count, "{query}");
        }
    }

    #[test]
    fn states_are_left_out_on_demand() {
        let muted = |by: fn(&mut AlertView) -> &mut Vec<String>, fingerprint: &str| {
            let mut view = view(fingerprint, &[], &[]);
            by(&mut view).push("x".to_owned());
            AlertView { state: AlertViewState::Suppressed, ..view }
        };
        let all = || {
            vec![
                view("a", &[], &[]),
                muted(|view| &mut view.silenced_by, "s"),
                muted(|view| &mut view.inhibited_by, "i"),
                muted(|view| &mut view.muted_by, "m"),
            ]
        };
        for (query, left) in [
            ("", "asim"),
            ("active=false", "sim"),
            ("silenced=false", "aim"),
            ("inhibited=false", "asm"),
            ("muted=false", "asi"),
            ("unprocessed=false", "asim"),
            ("silenced=false&inhibited=false&muted=false", "a"),
        ] {
            let shown = all().into_iter().filter_map(|view| wanted(query).choose(view));
            let shown: String = shown.map(|view| view.fingerprint).collect();
            assert_eq!(shown, left, "{query}");
        }
    }

    #[test]
    fn groups_go_by_rule_key_and_receiver_and_receivers_come_once() {
        let views = [
            view("1", &[], &[("one", &[("service", "b")]), ("two", &[])]),
            view("2", &[], &[("one", &[("service", "a")])]),
            view("3", &[], &[("one", &[("service", "b")]), ("gone", &[])]),
        ];
        let shown = |query: &str| -> Vec<String> {
            let (routing, wanted) = (routing(), wanted(query));
            let groups = grouped(&views, &routing, &wanted);
            let line = |((_, labels, receiver, rule), views): (GroupKey<'_>, Vec<&AlertView>)| {
                let alerts: Vec<&str> = views.iter().map(|view| view.fingerprint.as_str()).collect();
                format!("{labels:?} {receiver} {rule}: {}", alerts.join(" "))
            };
            groups.into_iter().map(line).collect()
        };
        assert_eq!(
            shown(""),
            [
                r#"{} hook two: 1"#,
                r#"{} ops two: 1"#,
                r#"{"service": "a"} ops one: 2"#,
                r#"{"service": "b"} ops one: 1 3"#
            ]
        );
        assert_eq!(shown("receiver=ho.k"), [r#"{} hook two: 1"#]);
        assert_eq!(routing().of(&views[0]), ["ops", "hook"]);
        assert!(routing().of(&view("4", &[], &[("gone", &[])])).is_empty(), "its rule is no longer configured");
    }

    #[test]
    fn pieces_make_one_array_whatever_their_number() {
        for count in [0, 1, 5_000] {
            let mut pieces = Pieces::default();
            (0..count).for_each(|number| pieces.push(&format!("alert number {number}")).unwrap());
            let pieces = pieces.finish();
            let whole: Vec<Value> = serde_json::from_slice(&pieces.concat()).unwrap();
            assert_eq!((whole.len(), pieces.len() > 1), (count, count == 5_000));
        }
    }
}
