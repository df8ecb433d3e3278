//! One small API, and what its document says.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::*;

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct Asked {
    /// How many.
    limit: Option<u8>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Thing {
    /// Its name.
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<String>,
}

fn api() -> Api<()> {
    const FULL: Failure = Failure::new(429, &["E_FULL"], "there is no room");
    let list = Operation::new("list", "things", "all things").query::<Asked>().answer::<Vec<Thing>>(200, "things");
    let add = Operation::new("add", "things", "adds a thing")
        .path::<String>("name", "its name")
        .body::<Thing>()
        .empty(200, "added")
        .fails(&[FULL, Failure::new(429, &["E_BUSY"], "too much at once")]);
    Api::new().get("/things", async || "", list).merge(Api::new().post("/things/{name}", async || "", add))
}

#[test]
fn a_document_has_what_was_registered() {
    let shown = document("t", "about", &[("things", "things")], api().described());
    let list = &shown["paths"]["/things"]["get"];
    assert_eq!(
        list["parameters"][0]["schema"],
        json!({"type": "integer", "format": "uint8", "minimum": 0, "maximum": 255})
    );
    assert_eq!(list["parameters"][0]["description"], "How many.");
    assert_eq!(
        list["responses"]["200"]["content"]["application/json"]["schema"]["items"]["$ref"],
        "#/components/schemas/Thing"
    );
    let add = &shown["paths"]["/things/{name}"]["post"];
    assert_eq!((&add["parameters"][0]["in"], &add["parameters"][0]["required"]), (&json!("path"), &json!(true)));
    assert_eq!(add["requestBody"]["required"], true);
    assert_eq!(shown["components"]["schemas"]["Thing"]["required"], json!(["name"]));
}

#[test]
fn failures_of_one_status_share_its_answer() {
    let shown = document("t", "about", &[], api().described());
    let full = &shown["paths"]["/things/{name}"]["post"]["responses"]["429"];
    assert_eq!(full["description"], "there is no room; too much at once");
    assert!(full["headers"]["Retry-After"].is_object());
    let codes = &full["content"][PROBLEM_JSON]["schema"]["allOf"][1]["properties"]["code"]["enum"];
    assert_eq!(*codes, json!(["E_FULL", "E_BUSY"]));
}

#[test]
fn the_list_has_a_line_per_operation() {
    assert_eq!(index(api().described()), "GET    /things         all things\nPOST   /things/{name}  adds a thing\n");
}
