//! How results are shown: tables for people, everything else for programs. Data goes to standard output alone.

use std::io::{self, IsTerminal as _, Write as _};

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

/// What `-o` takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// More columns.
    Wide,
    /// One document.
    Json,
    /// One document a line.
    Jsonl,
    /// YAML.
    Yaml,
    /// Names or ids, one a line.
    Name,
}

impl Format {
    /// Whether a program reads it.
    pub(crate) fn for_programs(self) -> bool {
        !matches!(self, Self::Table | Self::Wide)
    }
}

/// One column of a table: its header, where its value is, and whether only `-o wide` shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    header: &'static str,
    pointer: &'static str,
    show: fn(&Value) -> String,
    wide: bool,
}

/// A column of plain text.
pub(crate) const fn text(header: &'static str, pointer: &'static str) -> Column {
    Column { header, pointer, show: plain, wide: false }
}

impl Column {
    /// Shown in another way.
    pub(crate) const fn by(mut self, show: fn(&Value) -> String) -> Self {
        self.show = show;
        self
    }

    /// Shown by `-o wide` only.
    pub(crate) const fn wide(mut self) -> Self {
        self.wide = true;
        self
    }

    fn cell(&self, row: &Value) -> String {
        row.pointer(self.pointer).map(self.show).unwrap_or_default()
    }
}

/// Prints the rows of a list; `name` points at what `-o name` shows.
pub(crate) fn list(format: Format, rows: &[Value], name: &str, columns: &[Column]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match format {
        Format::Table | Format::Wide if rows.is_empty() => writeln!(io::stderr(), "nothing yet"),
        Format::Table | Format::Wide => {
            let shown: Vec<&Column> =
                columns.iter().filter(|column| format == Format::Wide || !column.wide).collect();
            writeln!(out, "{}", table(rows, &shown))
        }
        Format::Json => writeln!(out, "{:#}", Value::from(rows.to_vec())),
        Format::Jsonl => rows.iter().try_for_each(|row| writeln!(out, "{row}")),
        Format::Yaml => write!(out, "{}", yaml(&Value::from(rows.to_vec()))),
        Format::Name => rows
            .iter()
            .try_for_each(|row| writeln!(out, "{}", row.pointer(name).map(plain).unwrap_or_default())),
    }
}

/// Prints one object; `page` writes it for people.
pub(crate) fn object(
    format: Format,
    value: &Value,
    name: &str,
    page: impl FnOnce(&Value) -> String,
) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match format {
        Format::Table | Format::Wide => writeln!(out, "{}", page(value).trim_end()),
        Format::Json => writeln!(out, "{value:#}"),
        Format::Jsonl => writeln!(out, "{value}"),
        Format::Yaml => write!(out, "{}", yaml(value)),
        Format::Name => writeln!(out, "{}", value.pointer(name).map(plain).unwrap_or_default()),
    }
}

/// Prints text for people.
pub(crate) fn text_out(page: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{}", page.trim_end())
}

/// Rows as aligned text, as wide as the terminal.
pub(crate) fn table(rows: &[Value], columns: &[&Column]) -> String {
    let headers = columns.iter().map(|column| column.header);
    aligned(headers, rows.iter().map(|row| columns.iter().map(|column| column.cell(row))))
}

/// Rows with columns that only the answer names.
pub(crate) fn grid(rows: &[Value], names: &[&str]) -> String {
    aligned(names.iter().copied(), rows.iter().map(|row| names.iter().map(|name| plain(&row[*name]))))
}

/// Where a member of an object is.
pub(crate) fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn aligned<'a>(
    headers: impl Iterator<Item = &'a str>,
    rows: impl Iterator<Item = impl Iterator<Item = String>>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(headers);
    if io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    for row in rows {
        table.add_row(row);
    }
    let text = table.to_string();
    text.lines()
        .map(|line| line.trim_end().strip_prefix(' ').unwrap_or(line.trim_end()))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A table below its title; nothing where there are no rows.
pub(crate) fn section(title: &str, rows: &Value, columns: &[Column]) -> String {
    match rows.as_array() {
        Some(rows) if !rows.is_empty() => {
            let shown: Vec<&Column> = columns.iter().collect();
            format!("\n{title}\n{}\n", indented(&table(rows, &shown)))
        }
        _ => String::new(),
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

/// What is known of an object, one a line; what is empty is left out.
pub(crate) fn facts(facts: &[(&str, String)]) -> String {
    let known = facts.iter().filter(|(_, value)| !value.is_empty());
    let width = known.clone().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    known.map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

/// An object's fields, one a line, nested ones as JSON; what is empty is left out.
pub(crate) fn fields(value: &Value) -> String {
    let Some(object) = value.as_object() else { return plain(value) };
    let named: Vec<(&str, String)> =
        object.iter().map(|(name, value)| (name.as_str(), plain(value))).collect();
    facts(&named)
}

/// A value as people write it.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
            items.iter().map(plain).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

/// A whole number with separators.
pub(crate) fn count(value: &Value) -> String {
    let Some(number) = value.as_i64() else { return plain(value) };
    let digits = number.unsigned_abs().to_string();
    let grouped = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|chunk| String::from_utf8_lossy(chunk).into_owned())
        .collect::<Vec<_>>()
        .join(",");
    if number < 0 { format!("-{grouped}") } else { grouped }
}

/// A size in bytes.
pub(crate) fn size(value: &Value) -> String {
    let Some(bytes) = value.as_f64() else { return plain(value) };
    match bytes {
        b if b < 1024.0 => format!("{b:.0} B"),
        b if b < 1024.0 * 1024.0 => format!("{:.1} KiB", b / 1024.0),
        b => format!("{:.1} MiB", b / (1024.0 * 1024.0)),
    }
}

/// A figure with four digits after the point.
pub(crate) fn figure(value: &Value) -> String {
    value.as_f64().map_or_else(|| plain(value), |number| format!("{number:.4}"))
}

/// An instant to the second, in UTC.
pub(crate) fn instant(value: &Value) -> String {
    let parsed = value.as_str().and_then(|text| chrono::DateTime::parse_from_rfc3339(text).ok());
    parsed.map_or_else(|| plain(value), |time| time.to_utc().format("%Y-%m-%d %H:%M:%SZ").to_string())
}

/// Seconds as people say them.
pub(crate) fn seconds(value: &Value) -> String {
    let Some(seconds) = value.as_f64() else { return plain(value) };
    match seconds {
        0.0 => "0 s".to_owned(),
        s if s < 0.001 => format!("{:.0} µs", s * 1e6),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 60.0 => format!("{s:.1} s"),
        s if s < 3600.0 => format!("{:.0}m {:02.0}s", (s / 60.0).floor(), (s % 60.0).floor()),
        s if s < 86400.0 => format!("{:.0}h {:02.0}m", (s / 3600.0).floor(), (s % 3600.0 / 60.0).floor()),
        s => format!("{:.0}d {:02.0}h", (s / 86400.0).floor(), (s % 86400.0 / 3600.0).floor()),
    }
}

fn yaml(value: &Value) -> String {
    serde_saphyr::to_string(value).unwrap_or_else(|error| format!("# not YAML: {error}\n"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tables_align_and_keep_wide_columns_for_wide() {
        let rows = [json!({"id": "run_1", "n": 1_336_776}), json!({"id": "run_22", "n": -12})];
        let columns = [text("RUN", "/id"), text("ROWS", "/n").by(count)];
        let shown: Vec<&Column> = columns.iter().collect();
        insta::assert_snapshot!(table(&rows, &shown), @r"
        RUN     ROWS
        run_1   1,336,776
        run_22  -12
        ");
    }

    #[test]
    fn seconds_read_as_people_say_them() {
        let shown: Vec<String> =
            [0.0, 0.000_2, 0.25, 4.2, 72.0, 7300.0, 90_000.0].iter().map(|s| seconds(&json!(s))).collect();
        assert_eq!(shown, ["0 s", "200 µs", "250 ms", "4.2 s", "1m 12s", "2h 01m", "1d 01h"]);
    }
}
