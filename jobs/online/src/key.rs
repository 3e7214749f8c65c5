//! How an entity of a view version is named in Redis: `{prefix}:f:{view}:{version}:{key values}`.
//!
//! Key values are written as people write them on the command line, `UA/1545/2013-06-01/EWR`, so that a key can
//! be found with any Redis client. `/` and `%` within a value are escaped, so different entities never meet.

use std::fmt::Write as _;

use tidemill_spec::Value;

/// The name of one entity's value; `None` when a key value is null, because null names nothing.
pub fn value_key(prefix: &str, view: &str, version: u32, key: &[Value]) -> Option<String> {
    let mut name = view_prefix(prefix, view, version);
    for (position, value) in key.iter().enumerate() {
        if position > 0 {
            name.push('/');
        }
        match value {
            Value::Null => return None,
            Value::String(text) => push_escaped(&mut name, text),
            other => {
                // Writing to a String never fails.
                let _ = write!(name, "{other}");
            }
        }
    }
    Some(name)
}

/// Whether an entity, by its name behind the prefix, has these values in its key; a part that is none may be anything.
pub(crate) fn is_named(name: &str, key: &[Option<Value>]) -> bool {
    let parts: Vec<&str> = name.split('/').collect();
    let same = |(part, value): (&&str, &Option<Value>)| match value {
        Some(value) => value_key("", "", 0, std::slice::from_ref(value)).is_some_and(|name| {
            name.strip_prefix(&view_prefix("", "", 0)).is_some_and(|written| written == *part)
        }),
        None => true,
    };
    parts.len() == key.len() && parts.iter().zip(key).all(same)
}

/// What the names of all values of a view version begin with.
pub(crate) fn view_prefix(prefix: &str, view: &str, version: u32) -> String {
    format!("{prefix}:f:{view}:{version}:")
}

fn push_escaped(name: &mut String, text: &str) {
    for part in text.split_inclusive(['/', '%']) {
        match part.as_bytes().last() {
            Some(b'/') => name.extend([&part[..part.len() - 1], "%2F"]),
            Some(b'%') => name.extend([&part[..part.len() - 1], "%25"]),
            _ => name.push_str(part),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_reads_as_on_the_command_line() {
        let key = [
            Value::String("UA".into()),
            Value::Int(1545),
            Value::Date("2013-06-01".parse().unwrap()),
            Value::String("a/b%".into()),
        ];
        assert_eq!(
            value_key("tidemill", "load", 2, &key).unwrap(),
            "tidemill:f:load:2:UA/1545/2013-06-01/a%2Fb%25"
        );
        assert_eq!(value_key("tidemill", "load", 2, &[Value::Null]), None);
    }

    proptest! {
        #[test]
        fn an_entity_is_found_by_any_part_of_its_key_and_no_other_is(
            key in prop::collection::vec("[a/%2F5]{0,4}", 1..4),
            other in prop::collection::vec("[a/%2F5]{0,4}", 1..4),
            known in prop::collection::vec(any::<bool>(), 3),
        ) {
            let values = |key: &[String]| -> Vec<Value> { key.iter().cloned().map(Value::String).collect() };
            let sought: Vec<Option<Value>> = values(&key)
                .into_iter()
                .zip(&known)
                .map(|(value, known)| known.then_some(value))
                .collect();
            let name = |key: &[String]| value_key("p", "v", 1, &values(key)).unwrap()["p:f:v:1:".len()..].to_owned();
            prop_assert!(is_named(&name(&key), &sought));
            let alike = key.len() == other.len()
                && (0..key.len()).all(|part| !known[part] || key[part] == other[part]);
            prop_assert_eq!(is_named(&name(&other), &sought), alike);
        }

        #[test]
        fn two_entities_never_share_a_key(a in "[a/%2F5]{0,4}", b in "[a/%2F5]{0,4}", c in "[a/%2F5]{0,4}", d in "[a/%2F5]{0,4}") {
            let name = |x: &str, y: &str| value_key("p", "v", 1, &[Value::String(x.into()), Value::String(y.into())]).unwrap();
            prop_assert_eq!(name(&a, &b) == name(&c, &d), (&a, &b) == (&c, &d));
        }
    }
}
