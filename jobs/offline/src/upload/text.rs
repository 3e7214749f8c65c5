//! How text becomes a value of a declared type: one reading for every format and every door, so that the same value
//! in a CSV of labels and in a Parquet file of rows is the same key.

use tidemill_spec::Type;

use crate::sql::in_calendar;

/// Words for nothing, where it isn't text that is wanted. A list: DuckDB would plan `IN` as a join for each column.
const NULL_WORDS: &str = "['', 'null', 'none', 'na', 'n/a', '\\n']";

/// What stands in text that came as bytes which are no UTF-8. Text with a NUL character is never taken.
const NO_TEXT: &str = "chr(0)";

/// A column of a Parquet file as text that is to be read as `wanted`, by its type in DuckDB. A narrow float keeps its
/// value, which its shortest text would not, but where it is its digits that are wanted; lists and structs are JSON, as in a file of JSON lines.
pub(crate) fn as_text(column: &str, ty: &str, wanted: Type) -> String {
    match ty {
        "FLOAT" if matches!(wanted, Type::Decimal(_)) => format!("CAST({column} AS VARCHAR)"),
        "FLOAT" => format!("CAST(CAST({column} AS DOUBLE) AS VARCHAR)"),
        // Some writers leave out that their bytes are text.
        "BLOB" => {
            format!("CASE WHEN {column} IS NOT NULL THEN coalesce(TRY(decode({column})), {NO_TEXT}) END")
        }
        // JSON would make floats of decimals.
        list if list.ends_with(']') && has_no_quotes(wanted.element()) => {
            let wide = if list.starts_with("FLOAT") {
                format!("CAST({column} AS DOUBLE[])")
            } else {
                column.to_owned()
            };
            format!("CAST({wide} AS VARCHAR)")
        }
        nested
            if nested.ends_with(']')
                || ["STRUCT(", "MAP(", "UNION("].iter().any(|of| nested.starts_with(of)) =>
        {
            format!("CAST(to_json({column}) AS VARCHAR)")
        }
        _ => format!("CAST({column} AS VARCHAR)"),
    }
}

/// A column of a Parquet file that is stored as what is declared, as a value: its text would be read as the same again.
/// `None` where only text can say.
pub(crate) fn stored_as(column: &str, stored: &str, ty: Type) -> Option<String> {
    let within = |value: &str| format!("CASE WHEN {} THEN {value} END", in_calendar(value, ty));
    Some(match (ty, stored) {
        (Type::String, "VARCHAR") | (Type::Bool, "BOOLEAN") => column.to_owned(),
        (
            Type::Int,
            "BIGINT" | "INTEGER" | "SMALLINT" | "TINYINT" | "UINTEGER" | "USMALLINT" | "UTINYINT",
        ) => format!("CAST({column} AS BIGINT)"),
        (Type::Float, "DOUBLE") => format!("CASE WHEN isfinite({column}) THEN {column} END"),
        (Type::Date, "DATE") | (Type::Timestamp, WITH_ZONE) => within(column),
        (Type::Timestamp, "TIMESTAMP") => within(&format!("({column} AT TIME ZONE 'UTC')")),
        _ => return None,
    })
}

/// Instants in DuckDB; others have no zone.
pub(crate) const WITH_ZONE: &str = "TIMESTAMP WITH TIME ZONE";

/// A column of a declared type as text.
pub(crate) fn declared_as_text(column: &str, ty: Option<Type>) -> String {
    let element = ty.and_then(Type::element);
    if element.is_none() || has_no_quotes(element) {
        format!("CAST({column} AS VARCHAR)")
    } else {
        format!("CAST(to_json({column}) AS VARCHAR)")
    }
}

/// Whether what a list holds needs no quotes in JSON.
fn has_no_quotes(element: Option<Type>) -> bool {
    element.is_some_and(|element| element.is_number() || element == Type::Bool)
}

/// Text to be read as `ty`: trimmed where it isn't text that is wanted, so that padding, quoted nothing and words for
/// nothing don't matter.
pub(crate) fn text_of(text: &str, ty: Type) -> String {
    if ty == Type::String {
        return text.to_owned();
    }
    format!("CASE WHEN NOT list_contains({NULL_WORDS}, lower(trim({text}))) THEN trim({text}) END")
}

/// Whether text is the name of a float that is no number.
pub(crate) fn nan(text: &str) -> String {
    format!("regexp_full_match({text}, '[+-]?nan', 'i')")
}

/// Whether text is the name of an infinite float, or has more digits than any finite one.
pub(crate) fn infinite(text: &str) -> String {
    format!("coalesce(isinf(TRY_CAST({text} AS DOUBLE)), false)")
}

/// Whether text can't be kept: a NUL character ends it for some readers, and bytes that are no text have none.
pub(crate) fn no_text(text: &str) -> String {
    format!("contains({text}, chr(0))")
}

/// Whether text that was read as the timestamp `value` has no zone, and was taken for UTC.
pub(crate) fn naive(text: &str, value: &str) -> String {
    format!("coalesce({value} IS NOT NULL AND ({}).zone = '', false)", parts(text))
}

/// Text as a value of `ty`, null where it isn't one. Stricter than a cast, which would round 1.5 to an int.
pub(crate) fn typed(text: &str, ty: Type) -> String {
    match ty {
        Type::String => text.to_owned(),
        // Tables that once held a null write their ints as `5.0`.
        Type::Int => format!(
            "CASE WHEN regexp_full_match({text}, '[+-]?\\d+(\\.0*)?') THEN TRY_CAST(regexp_replace({text}, '\\.0*$', '') AS BIGINT) END"
        ),
        Type::Float => format!(
            "CASE WHEN regexp_full_match({text}, '[+-]?(\\d+\\.?\\d*|\\.\\d+)([eE][+-]?\\d+)?') AND NOT {} THEN TRY_CAST({text} AS DOUBLE) END",
            infinite(text)
        ),
        Type::Bool => format!(
            "CASE WHEN lower({text}) IN ('true', '1', '1.0') THEN true WHEN lower({text}) IN ('false', '0', '0.0') THEN false END"
        ),
        Type::Date => format!(
            "CASE WHEN regexp_full_match({text}, '\\d{{4}}-\\d\\d-\\d\\d([T ]00:00(:00(\\.0*)?)?)?(Z|\\+00(:?00)?)?') AND NOT starts_with({text}, '0000') THEN TRY_CAST(left({text}, 10) AS DATE) END"
        ),
        // Digits that would have to be rounded are none of it; zeros at the end don't matter.
        Type::Decimal(digits) => format!(
            "CASE WHEN regexp_full_match({text}, '[+-]?(\\d+|\\d*\\.\\d{{0,{}}}0*)') THEN TRY_CAST({text} AS {}) END",
            digits.scale(),
            ty.duckdb()
        ),
        Type::List { of, length } => {
            let fits = length.map_or_else(|| "true".to_owned(), |length| format!("len(items) = {length}"));
            format!(
                "list_transform([{}], lambda items: CASE WHEN len(list_filter(items, lambda item: item IS NULL)) = 0 AND {fits} THEN CAST(items AS {}) END)[1]",
                items(text, of.into()),
                ty.duckdb()
            )
        }
        Type::Timestamp => format!(
            "list_transform([{}], lambda moment: CASE WHEN {} THEN moment END)[1]",
            timestamp(text),
            in_calendar("moment", ty)
        ),
    }
}

/// The values of a list in JSON, null where one is none; null where it is no list. Numbers are read by their digits:
/// JSON would make floats of them.
fn items(text: &str, element: Type) -> String {
    const NUMBER: &str = "(\"[^\\[\\],\"\\s]+\"|[^\\[\\],\"\\s]+)";
    if has_no_quotes(Some(element)) {
        return format!(
            "CASE WHEN regexp_full_match({text}, '\\[\\s*({NUMBER}(\\s*,\\s*{NUMBER})*)?\\s*\\]') THEN list_transform(regexp_extract_all({text}, '[^\\[\\],\"\\s]+'), lambda item: {}) END",
            typed("item", element)
        );
    }
    let of_text = "(item ->> '$')";
    let value = match element {
        Type::String => format!("CASE WHEN NOT {} THEN {of_text} END", no_text(of_text)),
        _ => typed(of_text, element),
    };
    format!(
        "CASE WHEN json_valid({text}) THEN CASE WHEN json_type({text}) = 'ARRAY' THEN list_transform(json_extract({text}, '$[*]'), lambda item: CASE WHEN json_type(item) = 'VARCHAR' THEN {value} END) END END"
    )
}

/// What a timestamp is written in; its groups are [`PARTS`].
const TIMESTAMP: &str = "^(\\d{4}-\\d\\d-\\d\\d)(?:[T ](\\d\\d:\\d\\d(?::\\d\\d(?:\\.\\d+)?)?))?\\s*(Z|UTC|([+-])([01]\\d|2[0-3])(?::?([0-5]\\d))?)?$";
const PARTS: &str = "['date', 'time', 'zone', 'sign', 'hours', 'minutes']";

/// Characters of a time down to the microsecond; finer digits go.
const MICROSECOND: usize = "00:00:00.000000".len();

/// The parts of a timestamp's text, each empty where there is none.
fn parts(text: &str) -> String {
    format!("regexp_extract(trim({text}), '{TIMESTAMP}', {PARTS})")
}

/// The moment as written, less its offset; so that no session's zone has a say. The parts are bound to a name, for a
/// pattern that is written out at each use is planned and searched each time.
fn timestamp(text: &str) -> String {
    let number = |part: &str| format!("coalesce(TRY_CAST(nullif(written.{part}, '') AS BIGINT), 0)");
    format!(
        "list_transform([{parts}], lambda written:
          CAST(TRY_CAST(written.date || ' ' || CASE length(written.time) WHEN 0 THEN '00:00:00' WHEN 5 THEN written.time || ':00' ELSE left(written.time, {MICROSECOND}) END AS TIMESTAMP)
          - CASE written.sign WHEN '-' THEN -1 ELSE 1 END * to_minutes({hours} * 60 + {minutes}) AS TIMESTAMP) AT TIME ZONE 'UTC')[1]",
        parts = parts(text),
        hours = number("hours"),
        minutes = number("minutes"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_as_declared_is_what_its_text_would_be_read_as() {
        let connection = duckdb::Connection::open_in_memory().unwrap();
        connection.execute_batch("SET TimeZone = 'Asia/Tokyo'").unwrap();
        let times = "'1969-12-31 23:59:59.999999', '2013-01-01', '0001-01-01', '9999-12-31 23:59:59.999999', '20000-01-01', '0044-03-15 (BC)'";
        let cases = [
            (Type::String, "VARCHAR", "'', 'NA', ' a ', '007', 'null'"),
            (Type::Bool, "BOOLEAN", "'true', 'false'"),
            (Type::Int, "BIGINT", "'9223372036854775807', '-9223372036854775808', '0'"),
            (Type::Int, "UINTEGER", "'4294967295', '0'"),
            (Type::Int, "TINYINT", "'-128', '127'"),
            (
                Type::Float,
                "DOUBLE",
                "'0.1', '-0.0', '1e308', '5e-324', 'nan', 'inf', '-inf', '123456789012345678'",
            ),
            (
                Type::Date,
                "DATE",
                "'2013-02-28', '0001-01-01', '9999-12-31', '10000-01-01', '0044-03-15 (BC)'",
            ),
            (Type::Timestamp, "TIMESTAMP", times),
            (Type::Timestamp, WITH_ZONE, times),
        ];
        for (ty, stored, literals) in cases {
            let values: Vec<String> =
                literals.split(", ").map(|literal| format!("(CAST({literal} AS {stored}))")).collect();
            let direct = stored_as("x", stored, ty).unwrap();
            let by_text = typed(&text_of(&as_text("x", stored, ty), ty), ty);
            let differing = format!(
                "SELECT count(*) FROM (VALUES (NULL), {}) AS t(x) \
                 WHERE ({direct}) IS DISTINCT FROM ({by_text}) OR CAST(({direct}) AS VARCHAR) IS DISTINCT FROM CAST(({by_text}) AS VARCHAR)",
                values.join(", ")
            );
            let differing: i64 = connection.query_row(&differing, [], |row| row.get(0)).unwrap();
            assert_eq!(differing, 0, "{ty} of {stored}");
        }
        assert_eq!(stored_as("x", "TIMESTAMP_NS", Type::Timestamp), None);
        assert_eq!(stored_as("x", "DOUBLE", Type::Int), None);
    }
}
