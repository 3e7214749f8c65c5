//! Every generated statement: templates of `queries/`, filled with quoted names, literals and scans.
//!
//! Expressions of users come in compiled by `spec`, which has proven that each is one scalar expression over the
//! columns that are there, and has quoted these. Nothing else is ever spliced in unquoted.

use std::time::Duration;

use chrono::Datelike as _;
use tidemill_core::Time;
use tidemill_rows::{CREATED_AT, SEQ, VALID_AT};
use tidemill_spec::{Newest, Source, Type, Value};

pub(crate) use tidemill_expressions::{in_calendar, sound};
/// A name as SQL reads it, whatever it holds.
pub(crate) use tidemill_spec::expr::sql::quote as quoted;

/// Names, quoted, between commas.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    names.into_iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
}

/// Text as SQL reads it.
pub(crate) fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// An instant as SQL reads it. Rows have years of four digits, so what lies beyond is beyond all of them.
pub(crate) fn instant(time: Time) -> String {
    match time.year() {
        ..=0 => "TIMESTAMPTZ '-infinity'".to_owned(),
        1..=9999 => format!("TIMESTAMPTZ '{}+00'", time.format("%Y-%m-%d %H:%M:%S%.6f")),
        _ => "TIMESTAMPTZ 'infinity'".to_owned(),
    }
}

/// A value as SQL reads it, of its own type; null is typed by `ty`.
pub(crate) fn literal(value: &Value, ty: Type) -> String {
    let plain = match value {
        Value::Null => "NULL".to_owned(),
        Value::Timestamp(time) => instant(*time),
        Value::List(items) => {
            let element = ty.element().unwrap_or(Type::String);
            let items: Vec<String> = items.iter().map(|item| literal(item, element)).collect();
            format!("[{}]", items.join(", "))
        }
        other => text(&other.to_string()),
    };
    format!("CAST({plain} AS {})", ty.duckdb())
}

/// Fills the `{holes}` of a template from `queries/`; its header stays out. What fills them is not searched for holes: it
/// may hold texts of a user.
pub(crate) fn fill(template: &str, holes: &[(&str, &str)]) -> String {
    let body = template.lines().filter(|line| !line.trim_start().starts_with("--"));
    let body = body.collect::<Vec<_>>().join("\n");
    let (mut sql, mut rest) = (String::new(), body.as_str());
    while let Some((before, after)) = rest.split_once('{') {
        sql.push_str(before);
        let named = after.split_once('}').and_then(|(name, after)| {
            let (_, filling) = holes.iter().find(|(hole, _)| *hole == name)?;
            Some((*filling, after))
        });
        let (filling, after) = named.unwrap_or(("{", after));
        sql.push_str(filling);
        rest = after;
    }
    sql + rest
}

/// `keys` of two relations are equal; nulls equal nothing.
pub(crate) fn equal_keys<'a>(left: &str, right: &str, keys: impl IntoIterator<Item = &'a String>) -> String {
    let equal = |key: &String| format!("{left}.{key} = {right}.{key}", key = quoted(key));
    keys.into_iter().map(equal).collect::<Vec<_>>().join(" AND ")
}

/// Two rows share the unique columns, where a null is a value like others; `None` without such columns.
pub(crate) fn same(left: &str, right: &str, unique: &[String]) -> Option<String> {
    let same = |column: &String| {
        format!("{left}.{column} IS NOT DISTINCT FROM {right}.{column}", column = quoted(column))
    };
    (!unique.is_empty()).then(|| unique.iter().map(same).collect::<Vec<_>>().join(" AND "))
}

/// No key is null.
pub(crate) fn present<'a>(keys: impl IntoIterator<Item = &'a String>) -> String {
    let present = |key: &String| format!("{} IS NOT NULL", quoted(key));
    keys.into_iter().map(present).collect::<Vec<_>>().join(" AND ")
}

/// The entity is of this part: `(which from 0, of how many)`.
pub(crate) fn part<'a>(keys: impl IntoIterator<Item = &'a String>, (which, of): (u32, u32)) -> String {
    if of <= 1 { "true".to_owned() } else { format!("hash({}) % {of} = {which}", list(keys)) }
}

/// The tile of a hop that an instant lies in, both in microseconds: as `tidemill_windows` has it.
pub(crate) fn tile(valid_us: &str, hop_us: &str) -> String {
    // `//` and `%` round towards zero, tiles don't.
    let past = format!("((({valid_us} - 1) % {hop_us} + {hop_us}) % {hop_us})");
    format!("(({valid_us} - 1 - {past}) // {hop_us})")
}

/// An expression as a feature, typed and named.
pub(crate) fn feature(name: &str, expression: &str, ty: Type) -> String {
    format!("CAST({expression} AS {}) AS {}, ", ty.duckdb(), quoted(name))
}

/// The same, but null where the expression fails.
pub(crate) fn feature_or_null(name: &str, expression: &str, ty: Type) -> String {
    format!("TRY(CAST(({expression}) AS {})) AS {}, ", ty.duckdb(), quoted(name))
}

/// Keeps the newest row of each unique key; every row where there is none.
pub(crate) fn newest_of(source: &Source) -> String {
    if source.unique.is_empty() {
        return String::new();
    }
    let order = order_of(source).map(|column| format!("{column} DESC NULLS LAST"));
    let order = order.collect::<Vec<_>>().join(", ");
    format!("QUALIFY row_number() OVER (PARTITION BY {} ORDER BY {order}) = 1", list(&source.unique))
}

/// The rows of each unique key in their order, for a window over a source's rows; the one that counts is last.
pub(crate) fn key_order(source: &Source) -> String {
    let order = order_of(source).map(|column| format!("{column} NULLS FIRST"));
    format!("PARTITION BY {} ORDER BY {}", list(&source.unique), order.collect::<Vec<_>>().join(", "))
}

/// Whether a column decides which row of a unique key counts, and of which key a row is.
pub(crate) fn decides(source: &Source, name: &String) -> bool {
    source.unique.contains(name) || matches!(&source.newest, Newest::Column(column) if column == name)
}

/// By what the rows with the same unique columns are ordered, the one that counts last; nulls are first.
fn order_of(source: &Source) -> impl Iterator<Item = String> {
    let first = match &source.newest {
        Newest::ValidAt => VALID_AT.to_owned(),
        Newest::Accepted => CREATED_AT.to_owned(),
        Newest::Column(column) => quoted(column),
    };
    let total = [VALID_AT, CREATED_AT, SEQ].map(str::to_owned);
    let rest = if source.newest == Newest::Accepted { &total[2..] } else { &total[..] };
    [first].into_iter().chain(rest.to_vec())
}

/// In whole microseconds.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_text_cannot_end_their_quotes() {
        assert_eq!(quoted(r#"a"b"#), r#""a""b""#);
        assert_eq!(text("it's"), "'it''s'");
        assert_eq!(literal(&Value::Int(-3), Type::Int), "CAST('-3' AS BIGINT)");
    }

    #[test]
    fn a_header_stays_out_of_the_statement() {
        assert_eq!(fill("-- In: {a}\nSELECT {a}, {b}", &[("a", "1"), ("b", "2")]), "SELECT 1, 2");
    }

    #[test]
    fn a_text_that_looks_like_a_hole_is_itself() {
        let holes = [("features", "note = '{sound}' AND code = '\\d{4}'"), ("sound", "*")];
        assert_eq!(
            fill("SELECT {sound}, {features} FROM {", &holes),
            "SELECT *, note = '{sound}' AND code = '\\d{4}' FROM {"
        );
    }
}
