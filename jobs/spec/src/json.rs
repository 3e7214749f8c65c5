//! JSON of requests: what its parser takes although nobody can say what is meant.

use std::{collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};

/// Refuses JSON with an object that has a key twice, as files of rows do: most parsers silently take the last value. What
/// isn't JSON at all is left to whoever reads it.
///
/// # Errors
/// Which key, with line and column.
pub fn keys_once(json: &[u8]) -> Result<(), String> {
    match serde_json::from_slice::<Once>(json) {
        Err(error) if error.is_data() => Err(error.to_string()),
        _ => Ok(()),
    }
}

/// Any value whose objects have each key once.
struct Once;

impl<'j> Deserialize<'j> for Once {
    fn deserialize<D: Deserializer<'j>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'j> Visitor<'j> for Once {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'j>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'j>>(self, mut fields: A) -> Result<Self, A::Error> {
        let mut seen = HashSet::new();
        while let Some(name) = fields.next_key::<String>()? {
            if seen.contains(&name) {
                return Err(A::Error::custom(format!("`{name}` is there twice")));
            }
            seen.insert(name);
            fields.next_value::<Self>()?;
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_there_twice_is_told_with_its_place() {
        let told = |json: &str| keys_once(json.as_bytes()).unwrap_err();
        let body = "{\"entities\": [\n  {\"carrier\": \"UA\", \"carrier\": \"AA\"}]}";
        assert_eq!(told(body), "`carrier` is there twice at line 2 column 29");
        assert_eq!(told(r#"{"a": 1, "\u0061": 2}"#), "`a` is there twice at line 1 column 17");
        for fine in [r#"[{"a": {"a": [null, true, -1, 1, 1.5, "a"]}}, {"a": 1}]"#, "{\"a\"", "", "NaN"] {
            assert_eq!(keys_once(fine.as_bytes()), Ok(()), "{fine}");
        }
    }
}
