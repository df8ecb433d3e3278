//! What a listing asks for: matchers over the labels as they are shown, states, receivers.
//!
//! Matchers mean what they mean in Alertmanager, and to silences: a missing label is an empty one. Parameters that are not known are passed over, as Alertmanager does, so that clients of later versions work.

use axum::extract::Query;
use axum::http::Uri;
use schemars::JsonSchema;

use super::Fault;
use crate::engine::suppress::view::AlertView;
use crate::event::{Kind, Severity, Status};
use crate::rules::{LabelMatcher, Pattern, Subject};

/// Matchers of one query; more are refused.
const FILTERS_MAX: usize = 64;

/// What a listing of alerts can be asked for, as the document shows it.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used; parameters that are not known are passed over")]
pub(super) struct AlertFilters {
    /// Those that reach their rules; default true.
    active: Option<bool>,
    /// Silenced ones, too; default true.
    silenced: Option<bool>,
    /// Inhibited ones, too; default true.
    inhibited: Option<bool>,
    /// Those that a maintenance window mutes, too; default true.
    muted: Option<bool>,
    /// Matchers such as `service=~"check.*"`, which must all hold; at most 64.
    #[schemars(length(max = 64))]
    filter: Option<Vec<String>>,
    /// A regular expression over the names of sinks, anchored.
    receiver: Option<String>,
}

/// What a listing of silences can be asked for, as the document shows it.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used; parameters that are not known are passed over")]
pub(super) struct SilenceFilters {
    /// Matchers that a silence has, all of them; at most 64.
    #[schemars(length(max = 64))]
    filter: Option<Vec<String>>,
    /// Authors, any of them.
    creator: Option<Vec<String>>,
}

/// A query, taken apart.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) active: bool,
    pub(super) silenced: bool,
    pub(super) inhibited: bool,
    /// Muted by a maintenance window.
    pub(super) muted: bool,
    matchers: Vec<LabelMatcher>,
    /// The matchers as they were written.
    pub(super) texts: Vec<String>,
    receiver: Option<Pattern>,
    /// Of silences: their authors.
    pub(super) creators: Vec<String>,
}

/// What matchers see of an alert: what is shown of it, and its fields under the names that are no labels.
struct Shown<'a>(&'a AlertView);

impl Subject for Shown<'_> {
    fn label(&self, name: &str) -> Option<&str> {
        self.0.labels.get(name).map(String::as_str)
    }
    fn source(&self) -> &str {
        &self.0.source
    }
    fn summary(&self) -> &str {
        &self.0.summary
    }
    fn severity(&self) -> Severity {
        self.0.severity
    }
    fn status(&self) -> Status {
        Status::Firing
    }
    fn kind(&self) -> Kind {
        Kind::Alert
    }
}

impl Wanted {
    /// Reads the query of a path.
    pub(super) fn of(uri: &Uri) -> Result<Self, Fault> {
        let unreadable = |_| Fault::bad("the query string cannot be read");
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(unreadable)?;
        let mut wanted = Self {
            active: true,
            silenced: true,
            inhibited: true,
            muted: true,
            matchers: Vec::new(),
            texts: Vec::new(),
            receiver: None,
            creators: Vec::new(),
        };
        for (name, value) in pairs {
            match name.as_str() {
                "active" => wanted.active = truth(&value),
                "silenced" => wanted.silenced = truth(&value),
                "inhibited" => wanted.inhibited = truth(&value),
                "muted" => wanted.muted = truth(&value),
                "filter" if wanted.matchers.len() >= FILTERS_MAX => {
                    return Err(Fault::bad(format!("more than {FILTERS_MAX} filters")));
                }
                "filter" => {
                    let wrong = |wrong| Fault::bad(format!("bad matcher format: {wrong}"));
                    wanted.matchers.push(LabelMatcher::parse(&value).map_err(wrong)?);
                    wanted.texts.push(value);
                }
                "receiver" => {
                    let wrong = |wrong| Fault::bad(format!("failed to parse receiver param: {wrong}"));
                    wanted.receiver = Some(Pattern::parse(&value).map_err(wrong)?);
                }
                "creator" => wanted.creators.push(value),
                _ => {}
            }
        }
        Ok(wanted)
    }

    /// Whether all matchers hold.
    pub(super) fn takes(&self, view: &AlertView) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(&Shown(view)))
    }

    /// Whether a receiver is asked for.
    pub(super) fn takes_receiver(&self, name: &str) -> bool {
        self.receiver.as_ref().is_none_or(|pattern| pattern.is_match(name))
    }

    /// Whether any of an alert's receivers is asked for; without a wish, also an alert that has none.
    pub(super) fn takes_receivers<'a>(&self, mut names: impl Iterator<Item = &'a str>) -> bool {
        self.receiver.is_none() || names.any(|name| self.takes_receiver(name))
    }
}

/// What Alertmanager takes for yes; all else is no.
fn truth(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["true", "1", "yes", "ok", "y", "on", "selected", "checked", "t", "enabled"].contains(&text.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(query: &str) -> Result<Wanted, Fault> {
        Wanted::of(&format!("/api/v2/alerts?{query}").parse().unwrap())
    }

    #[test]
    fn parameters_that_are_not_known_are_passed_over() {
        let one = wanted("filter=a%3D1&silenced=false&later=x").unwrap();
        assert_eq!((one.active, one.silenced, one.texts), (true, false, vec!["a=1".to_owned()]));
        assert!(!wanted("active=no").unwrap().active && wanted("active=YES").unwrap().active);
    }

    #[test]
    fn receivers_match_as_a_whole_and_no_wish_takes_alerts_without_one() {
        let ops = wanted("receiver=ops%7Cteam-.%2B").unwrap();
        assert!(ops.takes_receivers(["hook", "team-a"].into_iter()));
        assert!(!ops.takes_receivers(["ops-2"].into_iter()) && !ops.takes_receivers(std::iter::empty()));
        assert!(wanted("").unwrap().takes_receivers(std::iter::empty()));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (query, said) in [
            ("filter=alertname", "bad matcher format: at character 10"),
            ("filter=", "bad matcher format"),
            ("filter=a%3D~%22(%22", "the regular expression is wrong"),
            ("receiver=(", "failed to parse receiver param: the regular expression is wrong"),
            (&"filter=a%3Db&".repeat(65), "more than 64 filters"),
        ] {
            let fault = wanted(query).unwrap_err();
            assert!(fault.message.contains(said), "{query}: {}", fault.message);
            assert_eq!((fault.status.as_u16(), fault.code), (400, None));
        }
    }
}
