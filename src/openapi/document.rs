//! Puts the OpenAPI 3.1 document together, and the list of routes for who looks at `/`.
//!
//! What is read and what is written have schemas of their own where they differ: their names must then differ, too.

use std::collections::BTreeMap;
use std::fmt::Write;

use schemars::generate::{Contract, SchemaSettings};
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::operation::{Answer, Content, Operation, Parameters};
use super::problem::{PROBLEM_JSON, Problem};

/// A method of a path with what is promised of it.
#[derive(Clone, Debug)]
pub struct Described {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) operation: Operation,
}

/// Where schemas of types stand in the document.
const SCHEMAS: &str = "/components/schemas";

impl Described {
    /// `get`, `post`, `delete`.
    pub fn method(&self) -> &'static str {
        self.method
    }

    /// The path, with `{names}`.
    pub fn path(&self) -> &'static str {
        self.path
    }
}

/// The OpenAPI 3.1 document of these operations.
pub fn document(title: &str, about: &str, tags: &[(&str, &str)], described: &[Described]) -> Value {
    let mut writer = Writer { read: generator(Contract::Deserialize), written: generator(Contract::Serialize) };
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for Described { method, path, operation } in described {
        paths.entry(path).or_default().insert((*method).to_owned(), writer.operation(operation));
    }
    let tags = tags.iter().map(|(name, description)| json!({ "name": name, "description": description }));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": env!("CARGO_PKG_VERSION"),
            "description": about,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/", "description": "the daemon that serves this document" }],
        "tags": tags.collect::<Vec<_>>(),
        "paths": paths,
        "components": { "schemas": writer.schemas() },
    })
}

/// One line per operation.
pub fn index(described: &[Described]) -> String {
    let width = described.iter().map(|one| one.path.len()).max().unwrap_or_default();
    described.iter().fold(String::new(), |mut text, one| {
        let method = one.method.to_ascii_uppercase();
        // Writing to a String does not fail.
        let _ = writeln!(text, "{method:<6} {:<width$}  {}", one.path, one.operation.summary);
        text
    })
}

fn generator(contract: Contract) -> SchemaGenerator {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = SCHEMAS.into();
        settings.meta_schema = None;
        settings.contract = contract;
    });
    settings.into_generator()
}

struct Writer {
    /// What requests hold.
    read: SchemaGenerator,
    /// What answers hold.
    written: SchemaGenerator,
}

impl Writer {
    fn operation(&mut self, operation: &Operation) -> Value {
        let mut shown = json!({
            "operationId": operation.id,
            "tags": [operation.tag],
            "summary": operation.summary,
            "responses": self.answers(&operation.answers),
        });
        if !operation.description.is_empty() {
            shown["description"] = json!(operation.description);
        }
        let parameters: Vec<Value> = operation.parameters.iter().flat_map(|one| self.parameters(one)).collect();
        if !parameters.is_empty() {
            shown["parameters"] = json!(parameters);
        }
        if !operation.body.is_empty() {
            let content: Map<String, Value> =
                operation.body.iter().map(|(media, of)| content(media, of(&mut self.read))).collect();
            shown["requestBody"] = json!({ "required": operation.body_required, "content": content });
        }
        shown
    }

    fn parameters(&mut self, parameters: &Parameters) -> Vec<Value> {
        match *parameters {
            Parameters::One { place, name, description, schema } => {
                let schema = schema(&mut self.read);
                let required = place == "path";
                vec![json!({
                    "name": name, "in": place, "required": required, "description": description, "schema": schema,
                })]
            }
            Parameters::Query(of) => {
                let object = of(&mut self.read);
                let members = object.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
                members.into_iter().map(|(name, schema)| query_parameter(name, schema)).collect()
            }
        }
    }

    fn answers(&mut self, answers: &[Answer]) -> Value {
        let mut shown: BTreeMap<String, Value> = BTreeMap::new();
        let mut codes: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
        for Answer { status, description, content: of } in answers {
            let answer = shown.entry(status.to_string()).or_insert_with(|| json!({ "description": "" }));
            answer["description"] = match answer["description"].as_str() {
                Some(said) if !said.is_empty() && said != *description => json!(format!("{said}; {description}")),
                _ => json!(description),
            };
            let (media, value) = match of {
                Content::Empty => continue,
                Content::Of(media, of) => content(media, of(&mut self.written)),
                Content::Problem(more) => {
                    codes.entry(*status).or_default().extend(*more);
                    content(PROBLEM_JSON, self.problem(&codes[status]))
                }
            };
            answer["content"][media] = value;
            if matches!(status, 429 | 503) {
                answer["headers"] = json!({ "Retry-After": {
                    "description": "seconds to wait before another try, where it is known",
                    "schema": { "type": "integer", "minimum": 1 },
                } });
            }
        }
        json!(shown)
    }

    fn problem(&mut self, codes: &[&str]) -> Schema {
        let any = self.written.subschema_for::<Problem<'_>>();
        let of_these = json!({ "allOf": [any, { "properties": { "code": { "enum": codes } } }] });
        of_these.try_into().unwrap_or_default()
    }

    /// The schemas of all types that were named.
    fn schemas(mut self) -> Map<String, Value> {
        let mut all = self.written.take_definitions(true);
        for (name, schema) in self.read.take_definitions(true) {
            let known = all.insert(name.clone(), schema.clone());
            debug_assert!(known.is_none_or(|known| known == schema), "two types are called {name}: rename one");
        }
        all
    }
}

fn content(media: &str, schema: Schema) -> (String, Value) {
    (media.to_owned(), json!({ "schema": schema }))
}

/// A member of an object as a parameter. What may be left out is never null.
fn query_parameter(name: String, mut schema: Value) -> Value {
    let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
    json!({
        "name": name,
        "in": "query",
        "required": false,
        "description": description.unwrap_or_default(),
        "schema": without_null(schema),
    })
}

fn without_null(mut schema: Value) -> Value {
    if let Some(kinds) = schema.get_mut("type")
        && let Some(list) = kinds.as_array_mut()
    {
        list.retain(|kind| kind != "null");
        if let [one] = list.as_slice() {
            *kinds = one.clone();
        }
    }
    if let Some(choices) = schema.get_mut("anyOf").and_then(Value::as_array_mut) {
        choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
        if let [one] = choices.as_slice() {
            return one.clone();
        }
    }
    schema
}
