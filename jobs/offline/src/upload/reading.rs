//! How a source says that its files write values, where that is not the usual way.
//!
//! Only the declaration decides: a comma is a decimal comma in every number of a source's CSV or in none of them.

use tidemill_spec::{Column, Csv, DecimalMark, Epoch, Type};

use super::text::{naive, text_of, typed};
use crate::sql::text as quoted_text;

/// How the text of one column is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading<'s> {
    pub(super) column: &'s Column,
    /// How CSV files are written, where this is one.
    pub(super) csv: Option<&'s Csv>,
}

impl Reading<'_> {
    /// Text as it was written, to be read as a value: null where it is a word for null.
    pub(super) fn text(&self, written: &str) -> String {
        let ty = self.column.ty;
        let text = match self.csv.and_then(|csv| csv.null.as_ref()) {
            Some(words) => {
                let words: Vec<_> = words.iter().map(|word| quoted_text(word)).collect();
                let trimmed =
                    if ty == Type::String { written.to_owned() } else { format!("trim({written})") };
                format!(
                    "CASE WHEN NOT list_contains(CAST([{}] AS VARCHAR[]), {trimmed}) THEN {trimmed} END",
                    words.join(", ")
                )
            }
            None => text_of(written, ty),
        };
        match self.csv {
            // A point becomes a comma, so that `1.500` is no number rather than 1.5.
            Some(Csv { decimal: DecimalMark::Comma, .. }) if ty.is_number() => {
                format!("translate({text}, ',.', '.,')")
            }
            _ => text,
        }
    }

    /// That text as a value, null where it is none.
    pub(super) fn value(&self, text: &str) -> String {
        let usual = || typed(text, self.column.ty);
        match (self.column.ty, self.format(), self.column.epoch) {
            (Type::Date, Some(format), _) => format!("CAST({} AS DATE)", formatted(text, format)),
            (Type::Timestamp, Some(format), None) => in_utc(text, format),
            (Type::Timestamp, format, Some(epoch)) => {
                let otherwise = format.map_or_else(usual, |format| in_utc(text, format));
                format!("CASE WHEN {} THEN {} ELSE {otherwise} END", is_number(text), since_1970(text, epoch))
            }
            _ => usual(),
        }
    }

    /// Whether text that was read as the timestamp `value` has no zone, and was taken for UTC.
    pub(super) fn naive(&self, text: &str, value: &str) -> String {
        let written = match self.format() {
            Some(format) if format.contains("%z") => "false".to_owned(),
            Some(_) => format!("{value} IS NOT NULL"),
            None => naive(text, value),
        };
        match self.column.epoch {
            Some(_) => format!("({written} AND NOT coalesce({}, false))", is_number(text)),
            None => written,
        }
    }

    /// What may have to be declared for text that is no value, added to what is wrong with it.
    pub(super) fn advice(&self, written: &str) -> String {
        let (ty, Column { epoch, .. }) = (self.column.ty, self.column);
        let points = self.csv.is_some_and(|csv| csv.decimal == DecimalMark::Point);
        let usual_days = self.csv.is_some() && self.format().is_none();
        let advice = [
            (
                matches!(ty, Type::Float | Type::Decimal(_)) && points,
                "[+-]?\\d+,\\d+",
                "; if that is a decimal comma, declare `csv: { decimal: \",\" }`",
            ),
            (
                ty.element().is_some(),
                "(?s).*(\\[|,)\\s*(null|NULL|nan|NaN)\\s*(,|\\]).*",
                "; nothing in a list is missing: no null, no NaN",
            ),
            (
                ty == Type::Date && usual_days,
                DAY,
                "; if dates are written so, declare `date_format` in `csv`",
            ),
            (
                ty == Type::Timestamp && usual_days,
                DAY,
                "; if times are written so, declare `timestamp_format` in `csv`",
            ),
            (
                ty == Type::Timestamp && epoch.is_none(),
                "[+-]?\\d{8,}(\\.\\d*)?",
                "; if it counts time since 1970, declare `epoch` of the column",
            ),
        ];
        let apt = advice.iter().filter(|(apt, ..)| *apt);
        let cases: Vec<_> = apt
            .map(|(_, pattern, advice)| {
                format!("WHEN regexp_full_match({written}, '{pattern}') THEN {}", quoted_text(advice))
            })
            .collect();
        if cases.is_empty() { String::new() } else { format!(" || CASE {} ELSE '' END", cases.join(" ")) }
    }

    /// How the column's dates or times are written, where that is declared.
    fn format(&self) -> Option<&str> {
        match self.column.ty {
            Type::Date => self.csv?.date_format.as_deref(),
            Type::Timestamp => self.csv?.timestamp_format.as_deref(),
            _ => None,
        }
    }
}

/// Text in a declared format, in UTC. A year has its four digits, or `05.02.24` would be in the year 24.
fn formatted(text: &str, format: &str) -> String {
    let zone = if format.contains("%z") { " AT TIME ZONE 'UTC'" } else { "" };
    format!(
        "list_transform([try_strptime({text}, {}){zone}], lambda moment: CASE WHEN year(moment) BETWEEN 1000 AND 9999 THEN moment END)[1]",
        quoted_text(format)
    )
}

fn in_utc(text: &str, format: &str) -> String {
    format!("{} AT TIME ZONE 'UTC'", formatted(text, format))
}

/// A day as it is written in most of the world, and what may follow it.
const DAY: &str = "\\d{1,2}[./-]\\d{1,2}[./-](\\d{2}|\\d{4})( .*)?";

fn is_number(text: &str) -> String {
    format!("regexp_full_match({text}, '[+-]?\\d+(\\.\\d*)?')")
}

/// A number of seconds or less since 1970, in the years 1 to 9999; digits below a microsecond go.
fn since_1970(text: &str, epoch: Epoch) -> String {
    let micros = match epoch {
        Epoch::Seconds => 1_000_000,
        Epoch::Millis => 1_000,
        Epoch::Micros => 1,
    };
    format!(
        "list_transform([TRY_CAST(floor(TRY_CAST({text} AS DECIMAL(27, 9)) * {micros}) AS BIGINT)], \
         lambda us: CASE WHEN us BETWEEN {FIRST_US} AND {LAST_US} THEN make_timestamp(us) AT TIME ZONE 'UTC' END)[1]"
    )
}

/// Year 1 and year 9999, in microseconds from 1970.
pub(super) const FIRST_US: i64 = -62_135_596_800_000_000;
pub(super) const LAST_US: i64 = 253_402_300_799_999_999;
