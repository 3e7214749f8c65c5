//! What an entity is called in Redis: `{key values}`, a field of the hash that [holds](crate::shard) it.
//!
//! Key values are written as people write them on the command line, `UA/1545/2013-06-01/EWR`, so that an entity can
//! be found with any Redis client. `/` and `%` within a value are escaped, so different entities never meet.

use std::fmt::Write as _;

use tidemill_spec::Value;

/// An entity's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(String);

impl Name {
    /// That of the entity with these values in its key; `None` when one is null, because null names nothing.
    pub(crate) fn of(key: &[Value]) -> Option<Self> {
        let mut name = String::new();
        for (position, value) in key.iter().enumerate() {
            if position > 0 {
                name.push('/');
            }
            push(&mut name, value)?;
        }
        Some(Self(name))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether an entity of this name has these values in its key; a part that is none may be anything.
pub(crate) fn is_named(name: &str, key: &[Option<Value>]) -> bool {
    let parts: Vec<&str> = name.split('/').collect();
    let same = |(part, value): (&&str, &Option<Value>)| match value {
        Some(value) => Name::of(std::slice::from_ref(value)).is_some_and(|name| name.as_str() == *part),
        None => true,
    };
    parts.len() == key.len() && parts.iter().zip(key).all(same)
}

/// What Redis is asked for, to find all names of which [`is_named`] is true and few others.
pub(crate) fn pattern(key: &[Option<Value>]) -> String {
    let part = |value: &Option<Value>| match value
        .as_ref()
        .and_then(|value| Name::of(std::slice::from_ref(value)))
    {
        Some(Name(name)) => name.chars().fold(String::new(), |mut escaped, c| {
            escaped.extend("*?[]\\^".contains(c).then_some('\\'));
            escaped.push(c);
            escaped
        }),
        None => "*".to_owned(),
    };
    key.iter().map(part).collect::<Vec<_>>().join("/")
}

/// Adds a part; `None`: it is null.
fn push(name: &mut String, value: &Value) -> Option<()> {
    match value {
        Value::Null => return None,
        Value::String(text) => push_escaped(name, text),
        other => {
            // Writing to a String never fails.
            let _ = write!(name, "{other}");
        }
    }
    Some(())
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
        assert_eq!(Name::of(&key).unwrap().as_str(), "UA/1545/2013-06-01/a%2Fb%25");
        assert_eq!(Name::of(&[Value::Null]), None);
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
            let name = |key: &[String]| Name::of(&values(key)).unwrap();
            prop_assert!(is_named(name(&key).as_str(), &sought));
            let alike = key.len() == other.len()
                && (0..key.len()).all(|part| !known[part] || key[part] == other[part]);
            prop_assert_eq!(is_named(name(&other).as_str(), &sought), alike);
        }

        #[test]
        fn two_entities_never_share_a_key(a in "[a/%2F5]{0,4}", b in "[a/%2F5]{0,4}", c in "[a/%2F5]{0,4}", d in "[a/%2F5]{0,4}") {
            let name = |x: &str, y: &str| Name::of(&[Value::String(x.into()), Value::String(y.into())]).unwrap();
            prop_assert_eq!(name(&a, &b) == name(&c, &d), (&a, &b) == (&c, &d));
        }
    }
}
