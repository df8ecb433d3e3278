//! The same requests to both: the same status, the same form of the body, the same content where it says who we are not.
//!
//! Words may differ where a library's are quoted (regular expressions, JSON); ids and instants always do.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::alertmanager::Alertmanager;
use crate::harness::events::in_seconds;
use crate::harness::{Daemon, Receiver, http_client};

const NO_SUCH: &str = "00000000-0000-0000-0000-000000000000";

/// One request to both.
struct Pair {
    alertmanager: String,
    incidentd: String,
    http: reqwest::Client,
}

/// Status, content type, body.
type Answer = (u16, String, String);

impl Pair {
    async fn call(&self, method: &str, path: &str, body: Option<&str>) -> [Answer; 2] {
        let ask = async |base: &str| {
            let method = method.parse().expect("a method");
            let mut request = self.http.request(method, format!("{base}{path}"));
            if let Some(body) = body {
                request = request.header("content-type", "application/json").body(body.to_owned());
            }
            let response = request.send().await.expect("an answer");
            let kind =
                response.headers().get("content-type").map_or("", |kind| kind.to_str().expect("text")).to_owned();
            (response.status().as_u16(), kind, response.text().await.expect("a text").trim().to_owned())
        };
        [ask(&self.alertmanager).await, ask(&self.incidentd).await]
    }

    /// Both must answer the same, word for word.
    async fn same(&self, method: &str, path: &str, body: Option<&str>) {
        let [theirs, ours] = self.call(method, path, body).await;
        assert_eq!(ours, theirs, "{method} {path} {body:?}");
    }

    /// Both must refuse with the same status and form, in words of their own.
    async fn alike(&self, method: &str, path: &str, body: Option<&str>) {
        let [theirs, ours] = self.call(method, path, body).await;
        let form = |(status, kind, body): &Answer| {
            let code = serde_json::from_str::<Value>(body).map(|body| (body["code"].clone(), body.is_string()));
            (*status, kind.clone(), code.map_err(|error| error.to_string()))
        };
        assert_eq!(form(&ours), form(&theirs), "{method} {path} {body:?}: {} for {}", ours.2, theirs.2);
        assert!(ours.0 >= 400, "{method} {path} {body:?}");
    }

    /// Both must answer with the same JSON, but for ids, instants and what only one of them has.
    async fn equal(&self, path: &str) -> Value {
        let [theirs, ours] = self.call("GET", path, None).await;
        assert_eq!((ours.0, &ours.1), (200, &theirs.1), "{path}: {}", ours.2);
        let ids = &mut BTreeMap::new();
        let theirs = common(serde_json::from_str(&theirs.2).expect("JSON"), ids);
        let ids = &mut BTreeMap::new();
        let ours = common(serde_json::from_str(&ours.2).expect("JSON"), ids);
        assert_eq!(ours, theirs, "{path}");
        ours
    }

    /// Makes a silence in both; gives its name in each.
    async fn silence(&self, body: &Value) -> [String; 2] {
        self.call("POST", "/api/v2/silences", Some(&body.to_string())).await.map(|(status, _, answer)| {
            assert_eq!(status, 200, "{body}: {answer}");
            let answer: Value = serde_json::from_str(&answer).expect("JSON");
            answer["silenceID"].as_str().expect("an id").to_owned()
        })
    }
}

/// Ids numbered as they come, instants without their value but with their form, and without what Alertmanager 0.25 lacks.
fn common(value: Value, ids: &mut BTreeMap<String, usize>) -> Value {
    match value {
        Value::String(text) if text.len() == 36 && text.as_bytes()[8] == b'-' => {
            let next = ids.len();
            json!(format!("silence {}", ids.entry(text).or_insert(next)))
        }
        Value::String(text) if text.len() == 24 && text.ends_with('Z') => json!("an instant with milliseconds"),
        Value::Array(values) => values.into_iter().map(|value| common(value, ids)).collect(),
        Value::Object(members) => {
            let members = members.into_iter().filter(|(name, _)| name != "mutedBy");
            let ours = |value: &Value| *value == "alertmanager" || *value == "warning";
            let members =
                members.filter(|(name, value)| !(["source", "severity"].contains(&name.as_str()) && ours(value)));
            members.map(|(name, value)| (name, common(value, ids))).collect::<serde_json::Map<_, _>>().into()
        }
        other => other,
    }
}

const SILENCE: &str =
    r#""startsAt":"2030-01-01T00:00:00Z","endsAt":"2030-01-01T01:00:00Z","createdBy":"me","comment":"c""#;
const MATCHERS: &str = r#""matchers":[{"name":"alertname","value":"A","isRegex":false}]"#;

async fn both(receiver: &Receiver) -> (Daemon, Alertmanager, Pair) {
    let config = format!(
        "rules: [{{ name: by-service, group_by: [service], missing_label: own_group }}]\nsinks: [{}]\n",
        receiver.sink("timeout: 5s")
    );
    let daemon = Daemon::start(&config).await;
    let alertmanager = Alertmanager::start(&format!(
        "route: {{ receiver: hook, group_by: [service], group_wait: 1h }}\n\
         receivers: [{{ name: hook, webhook_configs: [{{ url: 'http://{}/hook' }}] }}]\n",
        receiver.address
    ))
    .await;
    let (theirs, ours) = (alertmanager.url(""), daemon.url(""));
    let pair = Pair { alertmanager: theirs, incidentd: ours, http: http_client() };
    (daemon, alertmanager, pair)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_refused_as_alertmanager_does() {
    let receiver = Receiver::start().await;
    let (_daemon, _alertmanager, pair) = both(&receiver).await;
    for path in ["alerts", "alerts/groups", "silences"] {
        for filter in ["foo", "", "a%3D~%22(%22", "%7Ba%3D%22A%22%7D"] {
            pair.alike("GET", &format!("/api/v2/{path}?filter={filter}"), None).await;
        }
    }
    pair.alike("GET", "/api/v2/alerts?receiver=(", None).await;
    pair.alike("GET", "/api/v2/alerts/groups?receiver=(", None).await;
    for method in ["GET", "DELETE"] {
        pair.same(method, "/api/v2/silence/abc", None).await;
    }
    for body in ["", "{}", r#"{"comment":"c"}"#, r#"{"comment":"c","createdBy":"me"}"#] {
        pair.same("POST", "/api/v2/silences", Some(body)).await;
    }
    for body in ["{", "[]", r#"{"startsAt":"x"}"#, r#"{"matchers":{}}"#] {
        pair.alike("POST", "/api/v2/silences", Some(body)).await;
    }
    let body = |members: &str| format!("{{{members}}}");
    for members in [
        SILENCE.to_owned(),
        format!("{SILENCE},\"matchers\":[]"),
        format!("{SILENCE},\"matchers\":[{{\"name\":\"a\",\"value\":\"b\"}}]"),
        format!("{SILENCE},{MATCHERS}").replace("01:00:00Z", "00:00:00Z"),
        format!("{SILENCE},{MATCHERS}").replace("2030", "2020"),
        format!("{SILENCE},{MATCHERS},\"id\":\"{NO_SUCH}\""),
        format!("{SILENCE},{MATCHERS},\"id\":\"zzz\""),
    ] {
        pair.same("POST", "/api/v2/silences", Some(&body(&members))).await;
    }
    for matcher in [
        r#"{"name":"a","value":"(","isRegex":true}"#,
        r#"{"name":"a","value":"","isRegex":false}"#,
        r#"{"name":"a","value":".*","isRegex":true}"#,
        r#"{"name":"","value":"b","isRegex":false}"#,
    ] {
        pair.alike("POST", "/api/v2/silences", Some(&body(&format!("{SILENCE},\"matchers\":[{matcher}]")))).await;
    }
    pair.equal("/api/v2/silences").await;
    let [theirs, ours] = pair.call("GET", &format!("/api/v2/silence/{NO_SUCH}"), None).await;
    assert_eq!((theirs.0, ours.0), (404, 404));
    let [theirs, ours] = pair.call("DELETE", &format!("/api/v2/silence/{NO_SUCH}"), None).await;
    assert_eq!((theirs.0, ours.0), (500, 404), "later Alertmanagers answer 404 as well");
    assert_eq!(theirs.2, ours.2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fires_and_what_is_silenced_is_shown_as_alertmanager_does() {
    let receiver = Receiver::start().await;
    let (daemon, _alertmanager, pair) = both(&receiver).await;
    let alert = |name: &str, service: &str| {
        json!({"labels": {"alertname": name, "service": service, "empty": ""}, "annotations": {"summary": "it burns"},
               "generatorURL": format!("http://rules/{name}?x=1&y=2"), "startsAt": "2026-01-01T00:00:00Z"})
    };
    let alerts = json!([alert("A", "checkout"), alert("B", "checkout"), alert("A", "search"), alert("C", "")]);
    pair.same("POST", "/api/v2/alerts", Some(&alerts.to_string())).await;
    let shown = pair.equal("/api/v2/alerts").await;
    assert_eq!(shown.as_array().map(Vec::len), Some(4));

    let silence = |matchers: Value, comment: &str| {
        json!({"matchers": matchers, "startsAt": "2020-01-01T00:00:00Z", "endsAt": in_seconds(3_600),
               "createdBy": "me", "comment": comment})
    };
    let on = |name: &str, value: &str, is_regex: bool, is_equal: bool| json!({"name": name, "value": value, "isRegex": is_regex, "isEqual": is_equal});
    let matchers = json!([on("alertname", "A|B", true, true), on("service", "search", false, false)]);
    let first = pair.silence(&silence(matchers, "1")).await;
    let second =
        pair.silence(&silence(json!([on("alertname", "C", false, true), on("service", "", false, true)]), "2")).await;
    for path in [
        "alerts",
        "alerts/groups",
        "alerts?silenced=false",
        "alerts/groups?silenced=false",
        "alerts?active=false",
        "alerts?active=false&silenced=false",
        "alerts?inhibited=false&unprocessed=false",
        "alerts?filter=alertname%3D%22A%22",
        "alerts?filter=alertname%3D%22A%22&filter=service!%3Dsearch",
        "alerts?filter=service%3D%22%22",
        "alerts?filter=service!%3D%22%22",
        "alerts?filter=service%3D~%22%22",
        "alerts?filter=nothing%3D~%22.*%22",
        "alerts?filter=nothing!~%22.%2B%22",
        "alerts?receiver=ho.k",
        "alerts?receiver=ho",
        "alerts/groups?receiver=nobody",
        "alerts/groups?filter=alertname%3DB",
        "silences",
        "silences?filter=alertname%3D%22C%22",
        "silences?filter=alertname%3D~%22A%7CB%22&filter=service!%3Dsearch",
        "silences?filter=alertname%3D%22A%22",
        "receivers",
    ] {
        pair.equal(&format!("/api/v2/{path}")).await;
    }

    // A silence whose matchers and beginning stay is changed, any other is ended and made anew.
    let matchers = json!([on("alertname", "C", false, true), on("service", "", false, true)]);
    for (place, id) in second.iter().enumerate() {
        let known = pair.call("GET", &format!("/api/v2/silence/{id}"), None).await[place].2.clone();
        let known: Value = serde_json::from_str(&known).expect("JSON");
        let mut changed = silence(matchers.clone(), "longer");
        (changed["id"], changed["startsAt"]) = (json!(id), known["startsAt"].clone());
        let answer = pair.call("POST", "/api/v2/silences", Some(&changed.to_string())).await;
        assert!(answer[place].2.contains(id.as_str()), "{answer:?}");
        assert_eq!(answer[1 - place].0, 404, "it belongs to the other");
    }
    pair.equal("/api/v2/silences").await;
    let mut last = second;
    for (matchers, comment) in [(matchers, "begins otherwise"), (json!([on("service", "x", false, false)]), "other")] {
        let mut other = silence(matchers, comment);
        for (place, id) in last.iter_mut().enumerate() {
            other["id"] = json!(id);
            let (status, _, answer) = &pair.call("POST", "/api/v2/silences", Some(&other.to_string())).await[place];
            let made: Value = serde_json::from_str(answer).expect("JSON");
            assert!(*status == 200 && made["silenceID"] != *id, "{comment}: {answer}");
            *id = made["silenceID"].as_str().expect("an id").to_owned();
        }
        pair.equal("/api/v2/silences").await;
    }
    let mut ends = Vec::new();
    for (place, id) in first.iter().enumerate() {
        for method in ["DELETE", "DELETE", "GET"] {
            let (status, kind, said) = pair.call(method, &format!("/api/v2/silence/{id}"), None).await[place].clone();
            ends.push((status, kind, said.replace(id, "ID")));
        }
    }
    assert_eq!(ends[..2], ends[3..5], "to end what has ended is no error");
    pair.equal("/api/v2/silences").await;
    pair.equal("/api/v2/alerts").await;
    daemon.is_sound().await;
}
