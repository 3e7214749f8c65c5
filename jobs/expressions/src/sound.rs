//! What of a computed value is none: a float that is not finite, a time beyond the calendar, text with NUL, a list that
//! holds one of these or a null, or has another length.

use tidemill_spec::{Type, expr::sql::quote};

/// What is selected of rows that SQL has computed: null where it made what no value is.
pub fn sound<'a>(columns: impl IntoIterator<Item = (&'a str, Type)>) -> String {
    let sound = |(name, ty): (&str, Type)| {
        let name = quote(name);
        Some(format!("CASE WHEN {} THEN {name} END AS {name}", is_value(&name, ty)?))
    };
    let replaced = columns.into_iter().filter_map(sound).collect::<Vec<_>>().join(", ");
    if replaced.is_empty() { "*".to_owned() } else { format!("* REPLACE ({replaced})") }
}

/// Whether something that isn't null is a value of its type; `None` where everything is.
fn is_value(of: &str, ty: Type) -> Option<String> {
    match ty {
        Type::Float => Some(format!("isfinite({of})")),
        Type::Date | Type::Timestamp => Some(in_calendar(of, ty)),
        Type::String => Some(format!("NOT contains({of}, chr(0))")),
        Type::Int | Type::Bool | Type::Decimal(_) => None,
        Type::List { of: element, length } => {
            let sound = is_value("item", element.into()).unwrap_or_else(|| "true".to_owned());
            let count = length.map_or_else(|| format!("len({of})"), |length| length.to_string());
            let kept = format!("len(list_filter({of}, lambda item: item IS NOT NULL AND {sound}))");
            Some(format!("{kept} = len({of}) AND len({of}) = {count}"))
        }
    }
}

/// Whether a day or an instant has a year of four digits: beyond, no arithmetic with it would be safe.
pub fn in_calendar(value: &str, ty: Type) -> String {
    let (first, last) = match ty {
        Type::Date => ("DATE '0001-01-01'", "DATE '9999-12-31'"),
        _ => ("TIMESTAMPTZ '0001-01-01 00:00:00+00'", "TIMESTAMPTZ '9999-12-31 23:59:59.999999+00'"),
    };
    format!("{value} BETWEEN {first} AND {last}")
}
