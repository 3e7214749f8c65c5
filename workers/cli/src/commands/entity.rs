//! Entities on the command line: `--entity KEY=VALUE`, once a key, or `--entity VALUE/VALUE/…` in declared order.

use serde_json::{Map, Value};

use crate::{args::EntityArgs, failure::Failure};

/// What the flags say: keys by name as text, or all values in declared order. The server knows the types.
pub(crate) fn parse(args: &EntityArgs) -> Result<Value, Failure> {
    keys("--entity", &args.entity)
}

/// The same of a flag of another name.
pub(crate) fn keys(flag: &str, parts: &[String]) -> Result<Value, Failure> {
    match parts {
        [whole] if !whole.contains('=') => Ok(Value::from(whole.as_str())),
        parts => {
            let mut keys = Map::new();
            for part in parts {
                let Some((name, value)) = part.split_once('=') else {
                    let message = format!("`{flag} {part}` has no `=`");
                    let hint = format!("write {flag} KEY=VALUE for each key, or all values in one: A/B/C");
                    return Err(Failure::usage(message, hint));
                };
                if keys.insert(name.to_owned(), Value::from(value)).is_some() {
                    return Err(twice(flag, name));
                }
            }
            Ok(Value::Object(keys))
        }
    }
}

/// Of two values of one name nobody says which is meant.
pub(crate) fn twice(flag: &str, name: &str) -> Failure {
    Failure::usage(format!("`{flag} {name}=…` is there twice"), "give each name once")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_may_be_named_or_in_order() {
        let parse = |entity: &[&str]| {
            parse(&EntityArgs { entity: entity.iter().map(ToString::to_string).collect() })
                .map_err(|error| error.to_string())
        };
        assert_eq!(parse(&["UA/1545"]), Ok(json!("UA/1545")));
        assert_eq!(parse(&["carrier=UA", "flight=1545"]), Ok(json!({"carrier": "UA", "flight": "1545"})));
        assert!(parse(&["carrier=UA", "carrier=AA"]).unwrap_err().contains("twice"));
        assert!(parse(&["carrier=UA", "1545"]).unwrap_err().contains("has no `=`"));
    }
}
