//! JSON and the wire's structs, whose numbers are all doubles.

use prost_types::{ListValue, Struct, Value as Wire, value::Kind};
use serde_json::{Map, Number, Value as Json};

/// Whole numbers below this are exact as doubles.
const EXACT_MAX: u64 = 1 << 53;

/// A struct of the wire as JSON. A double that JSON lacks is its name in text, which is no number to anyone.
pub fn from_struct(wire: Struct) -> Map<String, Json> {
    wire.fields.into_iter().map(|(name, value)| (name, from_value(value))).collect()
}

/// JSON as a struct of the wire. An int that a double can't hold is text of its digits.
pub fn to_struct(fields: impl IntoIterator<Item = (String, Json)>) -> Struct {
    Struct { fields: fields.into_iter().map(|(name, value)| (name, to_value(value))).collect() }
}

fn from_value(wire: Wire) -> Json {
    match wire.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(truth)) => truth.into(),
        Some(Kind::StringValue(text)) => text.into(),
        Some(Kind::NumberValue(number)) => {
            Number::from_f64(number).map_or_else(|| Json::from(number.to_string()), Json::Number)
        }
        Some(Kind::StructValue(fields)) => Json::Object(from_struct(fields)),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(from_value).collect(),
    }
}

fn to_value(json: Json) -> Wire {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(truth) => Kind::BoolValue(truth),
        Json::Number(number) => match number.as_i64() {
            Some(int) if int.unsigned_abs() > EXACT_MAX => Kind::StringValue(int.to_string()),
            _ => number.as_f64().map_or(Kind::NullValue(0), Kind::NumberValue),
        },
        Json::String(text) => Kind::StringValue(text),
        Json::Array(list) => Kind::ListValue(ListValue { values: list.into_iter().map(to_value).collect() }),
        Json::Object(fields) => Kind::StructValue(to_struct(fields)),
    };
    Wire { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_double_cannot_hold_goes_as_text() {
        let Json::Object(given) = json!({
            "small": 5, "large": 336_432_622_316_028_723_i64, "float": 0.1, "text": "007", "none": null,
            "list": [true, { "x": -9_007_199_254_740_993_i64 }],
        }) else {
            unreachable!()
        };
        let back = Json::Object(from_struct(to_struct(given)));
        assert_eq!(back["large"], "336432622316028723");
        assert_eq!(back["list"][1]["x"], "-9007199254740993");
        assert_eq!((&back["small"], &back["float"]), (&json!(5.0), &json!(0.1)));
        assert_eq!(
            (&back["text"], &back["none"], &back["list"][0]),
            (&json!("007"), &Json::Null, &json!(true))
        );
    }

    #[test]
    fn a_double_that_json_lacks_is_no_number() {
        let number = Wire { kind: Some(Kind::NumberValue(f64::NAN)) };
        assert_eq!(from_value(number), json!("NaN"));
    }
}
