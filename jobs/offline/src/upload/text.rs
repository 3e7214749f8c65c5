//! How text becomes a value of a declared type: one reading for every format and every door, so that the same value
//! in a CSV of labels and in a Parquet file of rows is the same key.

use tidemill_spec::Type;

/// A column of any type as text. A narrow float keeps its value, which its shortest text would not.
pub(crate) fn as_text(column: &str) -> String {
    format!(
        "CASE WHEN typeof({column}) = 'FLOAT' THEN CAST(TRY_CAST({column} AS DOUBLE) AS VARCHAR) ELSE CAST({column} AS VARCHAR) END"
    )
}

/// Text to be read as `ty`: trimmed where it isn't text that is wanted, so that padding and quoted nothing don't matter.
pub(crate) fn text_of(text: &str, ty: Type) -> String {
    if ty == Type::String { text.to_owned() } else { format!("nullif(trim({text}), '')") }
}

/// Whether text that was read as the timestamp `value` has no zone, and was taken for UTC.
pub(crate) fn naive(text: &str, value: &str) -> String {
    let zone = format!("regexp_matches(trim({text}), '(Z|UTC|[+-]\\d\\d(:?\\d\\d)?)$')");
    format!("coalesce({value} IS NOT NULL AND NOT {zone}, false)")
}

/// Text as a value of `ty`, null where it isn't one. Stricter than a cast, which would round 1.5 to an int.
pub(crate) fn typed(text: &str, ty: Type) -> String {
    match ty {
        Type::String => text.to_owned(),
        // Tables that once held a null write their ints as `5.0`.
        Type::Int => format!(
            "CASE WHEN regexp_full_match({text}, '[+-]?\\d+(\\.0*)?') THEN TRY_CAST(regexp_replace({text}, '\\.0*$', '') AS BIGINT) END"
        ),
        // Digits that are read as infinite are a number too great to hold.
        Type::Float => format!(
            "CASE WHEN NOT (isinf(TRY_CAST({text} AS DOUBLE)) AND regexp_matches({text}, '\\d')) THEN TRY_CAST({text} AS DOUBLE) END"
        ),
        Type::Bool => format!(
            "CASE WHEN lower({text}) IN ('true', '1', '1.0') THEN true WHEN lower({text}) IN ('false', '0', '0.0') THEN false END"
        ),
        Type::Date => format!(
            "CASE WHEN regexp_full_match({text}, '\\d{{4}}-\\d\\d-\\d\\d([T ]00:00(:00(\\.0*)?)?)?(Z|\\+00(:?00)?)?') THEN TRY_CAST(left({text}, 10) AS DATE) END"
        ),
        Type::Timestamp => in_calendar(&timestamp(text)),
    }
}

/// A moment in UTC if its year has four digits; null beyond, where no arithmetic with it would be safe.
fn in_calendar(moment: &str) -> String {
    format!(
        "CASE WHEN {moment} BETWEEN TIMESTAMPTZ '0001-01-01 00:00:00+00' AND TIMESTAMPTZ '9999-12-31 23:59:59.999999+00' THEN {moment} END"
    )
}

/// The moment as written, less its offset; so that no session's zone has a say. Digits below a microsecond go.
fn timestamp(text: &str) -> String {
    let part = |group: u8| {
        format!(
            "regexp_extract({text}, '^(\\d{{4}}-\\d\\d-\\d\\d)([T ](\\d\\d:\\d\\d(:\\d\\d(\\.\\d{{1,6}})?)?)\\d*)?\\s*(Z|UTC|([+-])(\\d\\d):?(\\d\\d)?)?$', {group})"
        )
    };
    let number = |group: u8| format!("coalesce(TRY_CAST(nullif({}, '') AS BIGINT), 0)", part(group));
    format!(
        "CAST(TRY_CAST({date} || ' ' || CASE length({time}) WHEN 0 THEN '00:00:00' WHEN 5 THEN {time} || ':00' ELSE {time} END AS TIMESTAMP)
          - CASE {sign} WHEN '-' THEN -1 ELSE 1 END * to_minutes({hours} * 60 + {minutes}) AS TIMESTAMP) AT TIME ZONE 'UTC'",
        date = part(1),
        time = part(3),
        sign = part(7),
        hours = number(8),
        minutes = number(9),
    )
}
