//! `/openapi.json`: what the HTTP door takes, with a path for each model that is live, its entity's keys and outputs typed.

use axum::{Json as Body, extract::State};
use indexmap::IndexMap;
use serde_json::{Map, Value as Json, json};
use tidemill_online::{LiveModelVersion, LiveSet};
use tidemill_spec::{OutputType, Type};

use crate::{door::Door, warm::DEFAULT_ALIAS};

/// `GET /openapi.json`
pub(crate) async fn openapi(State(door): State<Door>) -> Body<Json> {
    let live = door.predictor.seen.borrow().live().cloned();
    Body(document(live.as_deref()))
}

/// The document, in the form of version 3.1.
fn document(live: Option<&LiveSet>) -> Json {
    let mut document: Json = serde_json::from_str(include_str!("openapi.json")).unwrap_or_default();
    let models = live.into_iter().flat_map(|live| &live.models);
    for (name, model) in models {
        let champion = model.aliases.get(DEFAULT_ALIAS);
        let version = champion.or_else(|| model.versions.keys().max()).and_then(|it| model.versions.get(it));
        if let Some(Ok(version)) = version {
            document["paths"][format!("/v1/models/{name}:predict")] = predict(name, version);
        }
    }
    document
}

/// One model's own path; without an alias its champion answers.
fn predict(name: &str, version: &LiveModelVersion) -> Json {
    let required: Vec<&String> = match &version.nullable {
        Some(nullable) => version.request.keys().filter(|name| !nullable.contains(name)).collect(),
        None => Vec::new(),
    };
    let mut body = json!({
        "entities": list(&object(&version.keys, &version.keys.keys().collect::<Vec<_>>())),
        "version": {"type": "integer", "minimum": 1},
        "alias": {"type": "string", "default": DEFAULT_ALIAS},
        "want_features": {"type": "boolean", "default": false},
    });
    if !version.request.is_empty() {
        body["request"] = list(&object(&version.request, &required));
    }
    let outputs: Map<String, Json> =
        version.outputs.iter().map(|(name, ty)| (name.clone(), output(ty))).collect();
    let prediction = json!({"allOf": [
        {"$ref": "#/components/schemas/Prediction"},
        {"type": "object", "properties": {"outputs": {"type": ["object", "null"], "properties": outputs}}},
    ]});
    let reply = json!({
        "type": "object",
        "required": ["model", "version", "predictions"],
        "properties": {
            "model": {"const": name},
            "version": {"type": "integer"},
            "predictions": {"type": "array", "items": prediction},
        },
    });
    let content = |schema: &Json| json!({"application/json": {"schema": schema}});
    let body = json!({
        "type": "object", "required": ["entities"], "additionalProperties": false, "properties": body,
    });
    json!({"post": {
        "operationId": format!("predict_{name}"),
        "summary": format!("Predicts with `{name}`"),
        "tags": ["predictions"],
        "parameters": [{"$ref": "#/components/parameters/timeout"}],
        "requestBody": {"required": true, "content": content(&body)},
        "responses": {
            "200": {"description": "In the order of the entities", "content": content(&reply)},
            "default": {"$ref": "#/components/responses/Failure"},
        },
    }})
}

fn list(item: &Json) -> Json {
    json!({"type": "array", "items": item, "minItems": 1})
}

fn object(columns: &IndexMap<String, Type>, required: &[&String]) -> Json {
    let properties: Map<String, Json> =
        columns.iter().map(|(name, ty)| (name.clone(), scalar(*ty))).collect();
    json!({
        "type": "object", "required": required, "additionalProperties": false, "properties": properties,
    })
}

/// A value as JSON; `docs/reference/values.md` is the law.
fn scalar(ty: Type) -> Json {
    match ty {
        Type::String => json!({"type": "string"}),
        Type::Int => json!({"type": "integer", "format": "int64"}),
        Type::Float => json!({"type": "number", "format": "double"}),
        Type::Bool => json!({"type": "boolean"}),
        Type::Date => json!({"type": "string", "format": "date"}),
        Type::Timestamp => json!({"type": "string", "format": "date-time"}),
        Type::Decimal(_) => json!({"type": "string", "description": ty.to_string()}),
        Type::List { of, length } => {
            let mut list = json!({"type": "array", "items": scalar(of.into())});
            if let Some(length) = length {
                list["minItems"] = length.into();
                list["maxItems"] = length.into();
            }
            list
        }
    }
}

fn output(ty: &OutputType) -> Json {
    match ty {
        OutputType::Scalar(ty) => scalar(*ty),
        OutputType::Class(classes) => {
            let share = json!({"type": "number", "minimum": 0, "maximum": 1});
            let shares: Map<String, Json> =
                classes.iter().map(|class| (class.clone(), share.clone())).collect();
            json!({"type": "object", "properties": {
                "class": {"enum": classes},
                "probabilities": {"type": "object", "required": classes, "properties": shares},
            }})
        }
        OutputType::Vector(size) => {
            json!({"type": "array", "items": {"type": "number"}, "minItems": size, "maxItems": size})
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every `$ref` below a value.
    fn references(value: &Json, found: &mut Vec<String>) {
        match value {
            Json::Object(fields) => fields.iter().for_each(|(name, value)| match value {
                Json::String(text) if name == "$ref" => found.push(text.clone()),
                value => references(value, found),
            }),
            Json::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn what_is_referred_to_is_there() {
        let document = document(None);
        assert_eq!(document["openapi"], "3.1.0");
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 10, "{found:?}");
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn types_are_written_as_json_schema() {
        let list: Type = "float[3]".parse().unwrap();
        let expected = json!({"type": "array", "items": {"type": "number", "format": "double"}, "minItems": 3, "maxItems": 3});
        assert_eq!(scalar(list), expected);
        let class = output(&OutputType::Class(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(class["properties"]["class"], json!({"enum": ["a", "b"]}));
        assert_eq!(class["properties"]["probabilities"]["required"], json!(["a", "b"]));
    }
}
