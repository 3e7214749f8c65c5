//! How text becomes a value of a declared type: one reading for every format and every door, so that the same value
//! in a CSV of labels and in a Parquet file of rows is the same key.

use tidemill_spec::Type;

use crate::sql::in_calendar;

/// Words for nothing, where it isn't text that is wanted.
const NULL_WORDS: &str = "'', 'null', 'none', 'na', 'n/a', '\\n'";

/// What stands in text that came as bytes which are no UTF-8. Text with a NUL character is never taken.
const NO_TEXT: &str = "chr(0)";

/// A column of a Parquet file as text, by its type in DuckDB. A narrow float keeps its value, which its shortest text
/// would not; lists and structs are JSON, as in a file of JSON lines.
pub(crate) fn as_text(column: &str, ty: &str) -> String {
    match ty {
        "FLOAT" => format!("CAST(CAST({column} AS DOUBLE) AS VARCHAR)"),
        // Some writers leave out that their bytes are text.
        "BLOB" => {
            format!("CASE WHEN {column} IS NOT NULL THEN coalesce(TRY(decode({column})), {NO_TEXT}) END")
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

/// A column of a declared type as text.
pub(crate) fn declared_as_text(column: &str) -> String {
    format!("CAST({column} AS VARCHAR)")
}

/// Text to be read as `ty`: trimmed where it isn't text that is wanted, so that padding, quoted nothing and words for
/// nothing don't matter.
pub(crate) fn text_of(text: &str, ty: Type) -> String {
    if ty == Type::String {
        return text.to_owned();
    }
    format!("CASE WHEN lower(trim({text})) NOT IN ({NULL_WORDS}) THEN trim({text}) END")
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
    format!("coalesce({value} IS NOT NULL AND {} = '', false)", part(text, ZONE))
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
        Type::Timestamp => {
            let moment = timestamp(text);
            format!("CASE WHEN {} THEN {moment} END", in_calendar(&moment, ty))
        }
    }
}

/// Groups of what a timestamp is written in.
const DATE: u8 = 1;
const TIME: u8 = 3;
const ZONE: u8 = 6;
const SIGN: u8 = 7;
const HOURS: u8 = 8;
const MINUTES: u8 = 9;

/// Characters of a time down to the microsecond; finer digits go.
const MICROSECOND: usize = "00:00:00.000000".len();

/// A part of a timestamp's text; empty where there is none.
fn part(text: &str, group: u8) -> String {
    format!(
        "regexp_extract(trim({text}), '^(\\d{{4}}-\\d\\d-\\d\\d)([T ](\\d\\d:\\d\\d(:\\d\\d(\\.\\d+)?)?))?\\s*(Z|UTC|([+-])([01]\\d|2[0-3])(?::?([0-5]\\d))?)?$', {group})"
    )
}

/// The moment as written, less its offset; so that no session's zone has a say.
fn timestamp(text: &str) -> String {
    let part = |group: u8| part(text, group);
    let number = |group: u8| format!("coalesce(TRY_CAST(nullif({}, '') AS BIGINT), 0)", part(group));
    format!(
        "CAST(TRY_CAST({date} || ' ' || CASE length({time}) WHEN 0 THEN '00:00:00' WHEN 5 THEN {time} || ':00' ELSE left({time}, {MICROSECOND}) END AS TIMESTAMP)
          - CASE {sign} WHEN '-' THEN -1 ELSE 1 END * to_minutes({hours} * 60 + {minutes}) AS TIMESTAMP) AT TIME ZONE 'UTC'",
        date = part(DATE),
        time = part(TIME),
        sign = part(SIGN),
        hours = number(HOURS),
        minutes = number(MINUTES),
    )
}
