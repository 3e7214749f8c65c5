//! What of a computed value is none: a float that is not finite, a time beyond the calendar, text with NUL.

use tidemill_spec::{Type, expr::sql::quote};

/// What is selected of rows that SQL has computed: null where it made what no value is.
pub fn sound<'a>(columns: impl IntoIterator<Item = (&'a str, Type)>) -> String {
    let sound = |(name, ty): (&str, Type)| {
        let name = quote(name);
        let condition = match ty {
            Type::Float => format!("isfinite({name})"),
            Type::Date | Type::Timestamp => in_calendar(&name, ty),
            Type::String => format!("NOT contains({name}, chr(0))"),
            Type::Int | Type::Bool => return None,
        };
        Some(format!("CASE WHEN {condition} THEN {name} END AS {name}"))
    };
    let replaced = columns.into_iter().filter_map(sound).collect::<Vec<_>>().join(", ");
    if replaced.is_empty() { "*".to_owned() } else { format!("* REPLACE ({replaced})") }
}

/// Whether a day or an instant has a year of four digits: beyond, no arithmetic with it would be safe.
pub fn in_calendar(value: &str, ty: Type) -> String {
    let (first, last) = match ty {
        Type::Date => ("DATE '0001-01-01'", "DATE '9999-12-31'"),
        _ => ("TIMESTAMPTZ '0001-01-01 00:00:00+00'", "TIMESTAMPTZ '9999-12-31 23:59:59.999999+00'"),
    };
    format!("{value} BETWEEN {first} AND {last}")
}
