//! Entities as people name them, read as the types that the project declares.

use serde_json::Value as Json;
use tidemill_core::Fault;
use tidemill_spec::{Entity, Value};

use crate::error::ApiError;

/// The key values in declared order. `given`: an object by key name, or all values in one text, `A/B/C`.
pub(crate) fn keys(entity: &Entity, given: &Json) -> Result<Vec<Value>, ApiError> {
    match given {
        Json::String(text) => in_order(entity, text),
        Json::Object(named) => {
            if let Some(unknown) = named.keys().find(|name| !entity.keys.contains_key(*name)) {
                return Err(wrong(entity, &format!("entity `{}` has no key `{unknown}`", entity.name)));
            }
            let key = |(name, ty): (&String, &tidemill_spec::Type)| {
                let value =
                    named.get(name).ok_or_else(|| wrong(entity, &format!("key `{name}` is missing")))?;
                let parsed = match value {
                    Json::String(text) => Value::parse(text, *ty),
                    other => Value::from_json(other, *ty),
                };
                parsed.map_err(|error| wrong(entity, &format!("key `{name}`: {error}")))
            };
            entity.keys.iter().map(key).collect()
        }
        _ => Err(wrong(entity, "an entity is an object of keys, or their values in one text")),
    }
}

fn in_order(entity: &Entity, text: &str) -> Result<Vec<Value>, ApiError> {
    let parts: Vec<&str> = if entity.keys.len() == 1 { vec![text] } else { text.split('/').collect() };
    if parts.len() != entity.keys.len() {
        return Err(wrong(
            entity,
            &format!("`{text}` has {} values, not {}", parts.len(), entity.keys.len()),
        ));
    }
    let key = |(part, (name, ty)): (&str, (&String, &tidemill_spec::Type))| {
        Value::parse(part, *ty).map_err(|error| wrong(entity, &format!("key `{name}`: {error}")))
    };
    parts.into_iter().zip(&entity.keys).map(key).collect()
}

fn wrong(entity: &Entity, message: &str) -> ApiError {
    let keys: Vec<String> = entity.keys.iter().map(|(name, ty)| format!("{name}: {ty}")).collect();
    let hint = format!("entity `{}` has the keys {}", entity.name, keys.join(", "));
    ApiError::invalid(Fault::coded(616, message).hint(hint))
}

/// `flight (carrier, flight, date, origin)`
pub(crate) fn described(entity: &Entity) -> String {
    let keys: Vec<&str> = entity.keys.keys().map(String::as_str).collect();
    format!("{} ({})", entity.name, keys.join(", "))
}

/// Whether just the entity's keys are named, whatever their values.
pub(crate) fn names_all(entity: &Entity, given: &Json) -> bool {
    let named = given.as_object();
    named.is_some_and(|named| {
        named.len() == entity.keys.len() && named.keys().all(|name| entity.keys.contains_key(name))
    })
}

/// Keys by name as JSON.
pub(crate) fn named(entity: &Entity, keys: &[Value]) -> Json {
    entity.keys.keys().cloned().zip(keys.iter().map(Value::to_json)).collect::<serde_json::Map<_, _>>().into()
}
