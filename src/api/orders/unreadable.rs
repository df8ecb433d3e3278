//! What is wrong with a body that does not fit: which member, what it should be, and what it is.
//!
//! Goes by the schema of what was asked for, so that no type needs words of its own. Pure; whoever asks cuts the words.

use schemars::JsonSchema;
use serde_json::error::Category;
use serde_json::{Map, Value};

use crate::api::echo;
use crate::event::hint;

/// The first thing that is wrong with a body that cannot be read as a `T`.
pub(super) fn complaint<T: JsonSchema>(body: &[u8], error: &serde_json::Error) -> String {
    if let Some((name, _)) = error.to_string().strip_prefix("duplicate field `").and_then(|rest| rest.split_once('`')) {
        return format!("\"{name}\" is given twice");
    }
    let value: Value = match serde_json::from_slice(body) {
        Ok(value) => value,
        Err(error) => return no_json(&error),
    };
    let Some(members) = value.as_object() else {
        return format!("a JSON object is asked for, such as {{\"by\": \"ann\"}}, not {}", named(&value));
    };
    let schema = schemars::schema_for!(T).to_value();
    about(members, &schema).unwrap_or_else(|| error.to_string())
}

fn no_json(error: &serde_json::Error) -> String {
    let wrong = if error.classify() == Category::Eof { "breaks off" } else { "is not JSON" };
    format!("the body {wrong} at line {} column {}", error.line(), error.column())
}

fn about(members: &Map<String, Value>, schema: &Value) -> Option<String> {
    let properties = schema["properties"].as_object()?;
    let known: Vec<&str> = properties.keys().map(String::as_str).collect();
    if let Some(unknown) = members.keys().find(|name| !known.contains(&name.as_str())) {
        let near = hint(unknown, known.iter().copied());
        return Some(format!("unknown member \"{}\"{near}; known: {}", echo(unknown), known.join(", ")));
    }
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    if let Some(missing) = required.clone().find(|name| !members.contains_key(*name)) {
        let what = properties[missing]["description"].as_str().map(|what| format!(": {what}")).unwrap_or_default();
        return Some(format!("\"{missing}\" is missing{}", what.trim_end_matches('.')));
    }
    members
        .iter()
        .find_map(|(name, value)| Some(format!("\"{name}\" is {}", misfit(value, &properties[name], schema)?)))
}

/// What a value should be, and what it is, where it is not that.
fn misfit(value: &Value, wanted: &Value, schema: &Value) -> Option<String> {
    let names = choices(wanted, schema);
    if !names.is_empty() {
        let text = value.as_str();
        let optional = wanted["anyOf"].as_array().is_some_and(|ways| ways.iter().any(|way| way["type"] == "null"));
        let fits = text.is_some_and(|text| names.iter().any(|name| name == text)) || (value.is_null() && optional);
        let near = text.map(|text| hint(text, names.iter().map(String::as_str))).unwrap_or_default();
        let is = text.map_or_else(|| named(value).to_owned(), |text| format!("\"{}\"", echo(text)));
        return (!fits).then(|| format!("one of {}, not {is}{near}", names.join(", ")));
    }
    let types: Vec<&str> = match &wanted["type"] {
        Value::String(one) => vec![one],
        several => several.as_array().into_iter().flatten().filter_map(Value::as_str).collect(),
    };
    let fits = |kind: &&str| match *kind {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64(),
        "null" => value.is_null(),
        _ => true,
    };
    if types.is_empty() || types.iter().any(fits) {
        return None;
    }
    let wanted = match types[0] {
        "string" => "a text",
        "boolean" => "true or false",
        "integer" => "a whole number from 0",
        other => other,
    };
    Some(format!("{wanted}, not {}", named(value)))
}

/// The texts that a value may be one of, where it is of a closed set.
fn choices(wanted: &Value, schema: &Value) -> Vec<String> {
    let ways = wanted["anyOf"].as_array().map_or_else(|| vec![wanted], |ways| ways.iter().collect());
    let referred = ways.into_iter().find_map(|way| way["$ref"].as_str());
    let Some(set) = referred.and_then(|path| schema.pointer(path.trim_start_matches('#'))) else { return Vec::new() };
    let each = set["oneOf"].as_array().into_iter().flatten().map(|one| &one["const"]);
    let all = set["enum"].as_array().into_iter().flatten();
    each.chain(all).filter_map(Value::as_str).map(str::to_owned).collect()
}

fn named(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(true) => "true",
        Value::Bool(false) => "false",
        Value::Number(number) if number.is_f64() => "another number",
        Value::Number(number) if number.is_i64() && !number.is_u64() => "a number below 0",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
