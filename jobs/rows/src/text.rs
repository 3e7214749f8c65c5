//! Rows of text files, split into cells of text: one splitting for uploads and for files of labels.
//!
//! A cell keeps what was written: numbers all their digits, text every character. What it is of a declared type is
//! `offline`'s to say, for every format alike.

pub mod frame;

use std::{borrow::Cow, fmt};

use frame::Dialect;
use indexmap::IndexMap;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// What some editors put before the first line of a file.
pub const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Fields of a row whose quotes are in order.
pub fn csv_fields(row: &str, dialect: Dialect) -> Vec<Option<Cow<'_, str>>> {
    let (delimiter, quote) = (char::from(dialect.delimiter), char::from(dialect.quote));
    let mut fields = Vec::new();
    let mut rest = row;
    loop {
        let Some(quoted) = rest.strip_prefix(quote) else {
            let end = rest.as_bytes().iter().position(|byte| *byte == dialect.delimiter);
            let (field, more) = end.map_or((rest, None), |end| (&rest[..end], Some(&rest[end + 1..])));
            fields.push((!field.is_empty()).then_some(Cow::Borrowed(field)));
            match more {
                Some(more) => rest = more,
                None => return fields,
            }
            continue;
        };
        let mut end = 0;
        while let Some(found) = quoted[end..].find(quote) {
            end += found;
            if !quoted[end + 1..].starts_with(quote) {
                break;
            }
            end += 2;
        }
        let field = &quoted[..end];
        fields.push(Some(if field.contains(quote) {
            field.replace(&format!("{quote}{quote}"), &quote.to_string()).into()
        } else {
            field.into()
        }));
        match quoted[end + 1..].strip_prefix(delimiter) {
            Some(more) => rest = more,
            None => return fields,
        }
    }
}

/// One value of a line of JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Text as it is, numbers and words as they are written, lists and objects without spaces.
    pub text: String,
    /// Whether it was text.
    pub quoted: bool,
}

/// The fields of a line that is a JSON object, in its order; null ones are none.
///
/// # Errors
/// What keeps it from being one, with the place in the line.
pub fn json_fields(line: &[u8]) -> Result<IndexMap<String, Option<Cell>>, String> {
    let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
    let Fields(fields) = serde_json::from_slice(line).map_err(|error| told(&error))?;
    fields.into_iter().map(|(name, raw)| Ok((name, cell(raw.get())?))).collect()
}

/// What a line of JSON has at a path of names, `user.id`; none where the path ends early, or at a null.
///
/// # Errors
/// Something on the way is no object.
pub fn field_at(fields: &IndexMap<String, Option<Cell>>, path: &str) -> Result<Option<Cell>, String> {
    let Some((first, rest)) = path.split_once('.') else { return Ok(fields.get(path).cloned().flatten()) };
    let Some(Some(cell)) = fields.get(first) else { return Ok(None) };
    if cell.quoted || !cell.text.starts_with('{') {
        let what = if cell.text.starts_with('[') && !cell.quoted { "a list" } else { "a single value" };
        return Err(format!("`{first}` is {what}, and not an object with a key `{rest}`"));
    }
    field_at(&json_fields(cell.text.as_bytes())?, rest)
}

/// An object's fields, each there once: of two nobody says which is meant.
struct Fields<'l>(IndexMap<String, &'l RawValue>);

impl<'l> Deserialize<'l> for Fields<'l> {
    fn deserialize<D: Deserializer<'l>>(deserializer: D) -> Result<Self, D::Error> {
        struct Once;
        impl<'l> Visitor<'l> for Once {
            type Value = Fields<'l>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'l>>(self, mut map: A) -> Result<Fields<'l>, A::Error> {
                let mut fields = IndexMap::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    if fields.contains_key(&name) {
                        return Err(A::Error::custom(format!("`{name}` is there twice")));
                    }
                    fields.insert(name, value);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Once)
    }
}

fn cell(raw: &str) -> Result<Option<Cell>, String> {
    Ok(match raw.as_bytes().first() {
        _ if raw == "null" => None,
        Some(b'"') => {
            let text = serde_json::from_str(raw).map_err(|error| told(&error))?;
            Some(Cell { text, quoted: true })
        }
        Some(b'{' | b'[') => Some(Cell { text: compact(raw), quoted: false }),
        _ => Some(Cell { text: raw.to_owned(), quoted: false }),
    })
}

/// The parser's words without its line, which is always the first.
fn told(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let what = message.rsplit_once(" at line ").map_or(message.as_str(), |(what, _)| what);
    format!("{what} at character {}", error.column())
}

/// JSON without the spaces between its parts.
fn compact(json: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    let kept = |c: &char| {
        let keep = quoted || !c.is_ascii_whitespace();
        (quoted, escaped) = match (*c, quoted, escaped) {
            ('"', _, false) => (!quoted, false),
            ('\\', true, false) => (true, true),
            _ => (quoted, false),
        };
        keep
    };
    json.chars().filter(kept).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_taken_off_and_nothing_is_null() {
        let field = |text: &'static str| Some(Cow::Borrowed(text));
        let usual = Dialect::default();
        let fields = csv_fields(r#"a,,"","b ""c"", d""#, usual);
        assert_eq!(fields, [field("a"), None, field(""), field(r#"b "c", d"#)]);
        assert_eq!(csv_fields("a,", usual), [field("a"), None]);
        let other = Dialect { delimiter: b';', quote: b'\'', ..usual };
        assert_eq!(
            csv_fields("1,5;'it''s; so';\"x\"", other),
            [field("1,5"), field("it's; so"), field("\"x\"")]
        );
    }

    #[test]
    fn a_path_is_followed_through_objects_alone() {
        let line = br#"{"user": {"id": 336432622316028723, "at": {"city": "Oslo"}, "gone": null}, "n": 1, "l": [{"x": 1}], "t": "{}"}"#;
        let fields = json_fields(line).unwrap();
        let at = |path| field_at(&fields, path).map(|cell| cell.map(|cell| cell.text));
        assert_eq!(at("user.id"), Ok(Some("336432622316028723".to_owned())));
        assert_eq!(at("user.at.city"), Ok(Some("Oslo".to_owned())));
        assert_eq!(at("user.at"), Ok(Some(r#"{"city":"Oslo"}"#.to_owned())));
        for nothing in ["user.name", "user.gone", "user.gone.since", "shop.id"] {
            assert_eq!(at(nothing), Ok(None), "{nothing}");
        }
        for (path, why) in [
            ("l.x", "`l` is a list, and not an object with a key `x`"),
            ("n.x", "`n` is a single value, and not an object with a key `x`"),
            ("t.x", "`t` is a single value, and not an object with a key `x`"),
            ("user.id.x", "`id` is a single value, and not an object with a key `x`"),
        ] {
            assert_eq!(at(path), Err(why.to_owned()));
        }
    }

    #[test]
    fn a_line_of_json_keeps_what_is_written() {
        let line = br#"{"f": 0.1000000000000000055511151231257827, "i": 123456789012345678901, "t": "a\u0000\"\n", "n": null, "l": [1, {"a b": "c \" d"}], "b": true, "h": 1e400}"#;
        let fields = json_fields(line).unwrap();
        let texts: Vec<_> = fields
            .iter()
            .map(|(name, cell)| (name.as_str(), cell.as_ref().map(|cell| (cell.text.as_str(), cell.quoted))))
            .collect();
        assert_eq!(
            texts,
            [
                ("f", Some(("0.1000000000000000055511151231257827", false))),
                ("i", Some(("123456789012345678901", false))),
                ("t", Some(("a\0\"\n", true))),
                ("n", None),
                ("l", Some((r#"[1,{"a b":"c \" d"}]"#, false))),
                ("b", Some(("true", false))),
                ("h", Some(("1e400", false))),
            ]
        );
        assert_eq!(
            json_fields(b"[1]").unwrap_err(),
            "invalid type: sequence, expected an object at character 0"
        );
        assert_eq!(json_fields(br#"{"a": 1, "a": 2}"#).unwrap_err(), "`a` is there twice at character 16");
        assert!(json_fields(br#"{"a": 1} x"#).unwrap_err().contains("trailing characters at character 10"));
    }
}
