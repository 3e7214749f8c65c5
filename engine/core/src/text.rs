//! Text that user code made, as every store can keep it: Postgres takes no NUL, neither in text nor in JSON.

use std::borrow::Cow;

use serde_json::Value;

/// The text with U+FFFD in place of each NUL.
pub fn storable(text: impl Into<String>) -> String {
    let text = text.into();
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

/// JSON whose texts and names are [`storable`]; without NUL it is left as it is.
pub fn storable_json(value: &Value) -> Cow<'_, Value> {
    if holds_nul(value) { Cow::Owned(replaced(value)) } else { Cow::Borrowed(value) }
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(map) => map.iter().any(|(name, value)| name.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn replaced(value: &Value) -> Value {
    match value {
        Value::String(text) => storable(text.as_str()).into(),
        Value::Array(items) => items.iter().map(replaced).collect(),
        Value::Object(map) => {
            map.iter().map(|(name, value)| (storable(name.as_str()), replaced(value))).collect()
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nul_is_replaced_wherever_it_stands() {
        let given = json!({ "a\0": ["b\0c", { "d": "\0" }, 1.5, null, true] });
        let expected = json!({ "a\u{fffd}": ["b\u{fffd}c", { "d": "\u{fffd}" }, 1.5, null, true] });
        assert_eq!(*storable_json(&given), expected);
        assert!(matches!(storable_json(&expected), Cow::Borrowed(_)));
    }
}
