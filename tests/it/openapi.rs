//! The OpenAPI document: valid, complete, and kept by the running daemon, as its public tools see it.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::daemon::{incidentd, text};
use crate::harness::servers::python_tool;
use crate::harness::{Daemon, root};

const CONFIG: &str = "rules: [{ name: by-service, group_by: [service], resolve_after: 0s, reopen_within: 1h }]\n\
    sinks: [{ name: console, type: stdout }]\n";

/// Requests of schemathesis to each operation.
const EXAMPLES: &str = "20";
const SEED: &str = "20261122";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_is_valid_and_the_same_from_the_daemon_and_the_command_line() {
    let daemon = Daemon::start(CONFIG).await;
    let served = daemon.json("/api/v1/openapi.json").await;
    let printed = incidentd(&["schema", "openapi"]).await;
    assert_eq!(serde_json::from_slice::<Value>(&printed.stdout).expect("JSON"), served, "{}", text(&printed.stderr));
    fs::write(daemon.folder().join("openapi.json"), served.to_string()).expect("written");
    let said = python_tool(daemon.folder(), "openapi-spec-validator", &["openapi.json"]);
    assert!(said.as_ref().is_ok_and(|said| said.ends_with("OK")), "{said:?}");

    let (_, index) = daemon.get("/").await;
    for (path, methods) in served["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let line = |line: &str| line.starts_with(&method.to_uppercase()) && line.contains(&format!(" {path} "));
            assert!(index.lines().any(line), "{method} {path} is not listed at /:\n{index}");
            let named = |name: &&str| {
                let parameters = operation["parameters"].as_array().into_iter().flatten();
                parameters.filter(|one| one["in"] == "path").any(|one| one["name"] == **name)
            };
            let names: Vec<&str> = path.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0)).collect();
            assert!(names.iter().all(named), "{method} {path}: a name of the path is not described");
        }
    }
}

/// The real incidents and silences among what is made up, so that more than 404 is seen.
async fn known(daemon: &Daemon) -> String {
    let event =
        |service: &str| json!({"source": "test", "labels": {"service": service}, "summary": "slow"}).to_string();
    daemon.push_json(&["checkout", "search", "billing", "mail"].map(event)).await;
    let incidents = daemon.incidents("").await;
    let ids: Vec<&str> = incidents.iter().map(|incident| incident["id"].as_str().expect("an id")).collect();
    let silence = json!({
        "matchers": [{"name": "service", "value": "mail", "isRegex": false}], "createdBy": "ann", "comment": "a test",
        "startsAt": "2020-01-01T00:00:00Z", "endsAt": "2020-01-02T00:00:00Z",
    });
    let mut silence = silence;
    silence["startsAt"] = incidents[0]["opened_at"].clone();
    silence["endsAt"] = json!(crate::harness::events::in_seconds(3_600));
    let (status, made) = daemon.post("/api/v2/silences", "application/json", silence.to_string()).await;
    assert_eq!(status, 200, "{made}");
    let made: Value = serde_json::from_str(&made).expect("JSON");
    format!(
        "[dictionaries.incidents]\nvalues = {}\n[dictionaries.silences]\nvalues = [{}]\n\
         [dictionaries.sinks]\nvalues = [\"console\"]\n{}{}{}",
        json!(ids),
        made["silenceID"],
        bound(
            "^/api/v1/incidents/",
            &[("path.id", "incidents"), ("body.into", "incidents"), ("body.incident", "incidents")]
        ),
        bound("^/api/v[12]/silences?/", &[("path.id", "silences")]),
        bound("^/api/v1/sinks/", &[("path.name", "sinks")]),
    )
}

fn bound(paths: &str, parameters: &[(&str, &str)]) -> String {
    let bound: Vec<String> =
        parameters.iter().map(|(name, from)| format!("\"{name}\" = {{ dictionary = \"{from}\" }}")).collect();
    format!("[[operations]]\ninclude-path-regex = \"{paths}\"\nparameters = {{ {} }}\n", bound.join(", "))
}

/// The stream is left out: it does not end. `tests/it/stream.rs` reads it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_daemon_answers_whatever_it_is_sent_as_the_document_promises() {
    let daemon = Daemon::start(CONFIG).await;
    fs::write(daemon.folder().join("schemathesis.toml"), known(&daemon).await).expect("written");
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
        response_headers_conformance";
    let url = daemon.url("/api/v1/openapi.json");
    let how = ["--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES, "--seed", SEED, "--checks", checks];
    let what = ["--exclude-path", "/api/v1/incidents/stream", "--continue-on-failure", "--request-timeout", "20"];
    let arguments = [&["--config-file", "schemathesis.toml", "run", &url], &how[..], &what].concat();
    let (folder, arguments) = (daemon.folder().to_owned(), arguments.join(" "));
    let said = tokio::task::spawn_blocking(move || {
        python_tool(&folder, "schemathesis", &arguments.split(' ').collect::<Vec<_>>())
    });
    let said = said.await.expect("no panic").unwrap_or_else(|said| panic!("{said}"));
    assert!(!said.contains("0 generated"), "{said}");
    daemon.is_sound().await;
}

#[test]
fn no_route_is_registered_without_a_promise() {
    fn rust_files(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
        for entry in fs::read_dir(folder).expect("readable").flatten().map(|entry| entry.path()) {
            match entry.is_dir() {
                true => rust_files(&entry, files),
                false => files.push(entry),
            }
        }
    }
    let mut files = Vec::new();
    rust_files(&root().join("src"), &mut files);
    files.retain(|file| !file.starts_with(root().join("src/openapi")));
    for file in files {
        let text = fs::read_to_string(&file).expect("a text");
        let code = text.split("#[cfg(test)]\nmod tests").next().expect("a part");
        assert!(!code.contains(".route("), "{}: register it through openapi::Api", file.display());
    }
}
