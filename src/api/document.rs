//! `GET /api/v1/openapi.json` and `GET /`: what there is, for programs and for somebody who looks here first.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use super::{ApiState, TEXT};
use crate::ingest;
use crate::openapi::{self, Api, Operation};

const ABOUT: &str = "Turns monitoring events into incidents. Instants are RFC 3339 in UTC with microseconds, durations \
    texts such as `15m`, sizes bytes unless they are named otherwise. Errors are `application/problem+json` (RFC 9457) with \
    a `code` for programs; below `/api/v2` they are Alertmanager's. A path that does not exist answers 404 `not_found`, a \
    method that it does not take 405 `method_not_allowed` with `Allow`. The same port speaks gRPC \
    (`incidentd.v1.EventService`, with reflection).";

/// The headings of the document.
const TAGS: [(&str, &str); 8] = [
    ("events", "what monitoring systems send"),
    ("incidents", "what came of it: reading, following, operating"),
    ("problems", "incidents that keep recurring"),
    ("rules", "what the rules do"),
    ("silences", "what is muted by hand"),
    ("sinks", "who is told, and how that goes"),
    ("alertmanager", "as in Alertmanager's API v2, for `amtool`, Prometheus and dashboards"),
    ("daemon", "metrics, health, configuration, this document"),
];

/// The document and the list, rendered once.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    document: Bytes,
    index: Arc<str>,
}

impl Shown {
    pub(super) fn new() -> Self {
        let list = openapi::index(all().as_slice());
        let index = format!(
            "incidentd {}\n\n{list}\ngRPC incidentd.v1.EventService is on this port, too, with reflection\n",
            env!("CARGO_PKG_VERSION")
        );
        Self { document: document().to_string().into(), index: index.into() }
    }
}

/// The OpenAPI document of everything on the port that speaks HTTP.
pub fn document() -> Value {
    openapi::document("incidentd", ABOUT, &TAGS, &all())
}

fn all() -> Vec<openapi::Described> {
    [ingest::http::api().described(), super::api().described()].concat()
}

/// The routes.
pub(super) fn api() -> Api<ApiState> {
    let index_is = Operation::new("getIndex", "daemon", "this list").answer_as::<String>(TEXT, 200, "a line per route");
    let show_is = Operation::new("getOpenapi", "daemon", "the OpenAPI 3.1 document of all this")
        .answer::<Map<String, Value>>(200, "the document");
    Api::new().get("/", index, index_is).get("/api/v1/openapi.json", show, show_is)
}

async fn index(Extension(shown): Extension<Shown>) -> Response {
    shown.index.to_string().into_response()
}

async fn show(Extension(shown): Extension<Shown>) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], shown.document).into_response()
}
