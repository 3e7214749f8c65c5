//! The block `csv` of a source.

use crate::{
    Csv, DecimalMark, Encoding, LineEnd,
    yaml::fields::{At, list},
};

/// What tells a day, and what tells a moment, as strftime has it.
const OF_DATES: &str = "YymbBdjaA%";
const OF_TIMESTAMPS: &str = "YymbBdjaAHIMSfpz%";
/// Those that may be written without leading zeros.
const UNPADDED: &str = "mdHIMS";

pub(super) fn csv(at: &At<'_>) -> Csv {
    let usual = Csv::default();
    let Some(mut fields) = at.fields("`csv`") else { return usual };
    let delimiter = fields.get("delimiter").and_then(|at| mark(&at, "a comma, semicolon, tab or the like"));
    let quote = fields.get("quote").and_then(|at| mark(&at, "a quotation mark"));
    let line_end = fields.get("line_end");
    let decimal = fields.get("decimal");
    let encoding = fields.get("encoding");
    let null = fields.get("null").and_then(|at| at.list());
    let date_format = fields.get("date_format").and_then(|at| pattern(&at, OF_DATES));
    let timestamp_format = fields.get("timestamp_format").and_then(|at| pattern(&at, OF_TIMESTAMPS));
    fields.finish();
    let csv = Csv {
        delimiter: delimiter.unwrap_or(usual.delimiter),
        quote: quote.unwrap_or(usual.quote),
        line_end: line_end.and_then(|at| at.meaning(&LINE_ENDS)).unwrap_or_default(),
        decimal: decimal.and_then(|at| at.meaning(&DECIMALS)).unwrap_or_default(),
        encoding: encoding.and_then(|at| at.meaning(&ENCODINGS)).unwrap_or_default(),
        null: null.map(|words| words.iter().filter_map(At::text).collect()),
        date_format,
        timestamp_format,
    };
    if csv.delimiter == csv.quote {
        at.key_error(209, format!("`{}` is both delimiter and quote", csv.quote), "")
            .help("fields could not be told apart; choose another `quote`");
    }
    csv
}

const LINE_ENDS: [(&str, LineEnd); 2] = [("lf", LineEnd::Lf), ("cr", LineEnd::Cr)];
const DECIMALS: [(&str, DecimalMark); 2] = [(".", DecimalMark::Point), (",", DecimalMark::Comma)];
/// Nobody who says Latin-1 means the control characters in which it differs.
const ENCODINGS: [(&str, Encoding); 4] = [
    ("utf-8", Encoding::Utf8),
    ("utf-16", Encoding::Utf16),
    ("windows-1252", Encoding::Windows1252),
    ("latin-1", Encoding::Windows1252),
];

/// One ASCII character that values are not made of.
fn mark(at: &At<'_>, expected: &str) -> Option<char> {
    let text = at.text()?;
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(mark), None) if mark.is_ascii_punctuation() || mark == '\t' || mark == ' ' => Some(mark),
        _ => {
            at.error(209, format!("{} is not {expected}", serde_json::Value::from(text)))
                .help("it is one ASCII character, no letter or digit; a tab is written \"\\t\"");
            None
        }
    }
}

/// A strftime pattern that tells a day, and of a time of twelve hours which half.
fn pattern(at: &At<'_>, specifiers: &str) -> Option<String> {
    let text = at.text()?;
    let mut found = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            continue;
        }
        let specifier = match chars.next() {
            Some('-') => chars.next().filter(|c| UNPADDED.contains(*c) && specifiers.contains(*c)),
            other => other.filter(|c| specifiers.contains(*c)),
        };
        let Some(specifier) = specifier else {
            let known: Vec<String> = specifiers.chars().map(|c| format!("%{c}")).collect();
            at.error(209, format!("`{text}` has a part that is not known after `%`")).help(format!(
                "its parts may be {}, and without leading zeros `%-d` and the like",
                list(&known)
            ));
            return None;
        };
        found.push(specifier);
    }
    let any = |of: &str| found.contains(|c| of.contains(c));
    let lacks = if !any("Yy") {
        "the year: `%Y` or `%y`"
    } else if !(any("j") || any("mbB") && any("d")) {
        "month or day: `%m` and `%d`"
    } else if any("I") && !any("p") {
        "the half of the day: `%p`, or `%H` instead of `%I`"
    } else {
        return Some(text);
    };
    at.error(209, format!("`{text}` does not tell {lacks}"));
    None
}
