//! Splits the rows of a text chunk into columns of text, for the lake to type and judge.
//!
//! What can't be split (too few fields, bad quotes, no JSON object) is a dead letter at once; its raw form is the
//! line as text.

use std::{borrow::Cow, sync::Arc};

use arrow::{
    array::{ArrayRef, Int64Builder, RecordBatch, StringBuilder},
    datatypes::{DataType, Field, Schema},
    error::ArrowError,
};
use serde_json::Value as Json;
use tidemill_catalog::{ChunkPlan, Format};
use tidemill_offline::upload::DeadRow;
use tidemill_spec::Source;

use crate::frame::{self, frames};

/// A chunk of text, split.
#[derive(Debug)]
pub(crate) struct Split {
    /// `_row`, `_line` and the source's columns as text.
    pub(crate) rows: RecordBatch,
    /// Rows that can't be split.
    pub(crate) dead: Vec<DeadRow>,
}

/// Splits whole rows: `bytes` is what `plan` says of a file with these columns.
pub(crate) fn split(
    format: Format,
    bytes: &[u8],
    plan: &ChunkPlan,
    header: &[String],
    source: &Source,
) -> Result<Split, ArrowError> {
    let mut columns = Columns::new(source);
    let mut dead = Vec::new();
    let framing = if format == Format::Csv { frame::csv } else { frame::line };
    // Where each column of the source stands in the file's header.
    let places: Vec<Option<usize>> =
        source.columns.keys().map(|name| header.iter().position(|column| column == name)).collect();
    let (mut row, mut line) = (signed(plan.rows_before), signed(plan.lines_before) + 1);
    for (at, frame) in frames(bytes, framing) {
        let content = &bytes[at..at + frame.content];
        if !content.is_empty() {
            let cells = match (frame.broken, format) {
                (Some(why), _) => Err(Unsplit { column: None, reason: why.to_owned() }),
                (None, Format::Csv) => csv_cells(content, header.len(), &places),
                (None, _) => json_cells(content, source),
            };
            match cells {
                Ok(cells) => columns.push(row, line, &cells),
                Err(Unsplit { column, reason }) => dead.push(DeadRow {
                    row,
                    line: Some(line),
                    column,
                    reason,
                    raw: Json::from(String::from_utf8_lossy(content)).to_string(),
                }),
            }
            row += 1;
        }
        line += signed(frame.lines);
    }
    Ok(Split { rows: columns.finish(source)?, dead })
}

/// Why a row can't be split.
struct Unsplit {
    column: Option<String>,
    reason: String,
}

/// What some editors put before the first line of a file.
pub(crate) const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

type Cells<'a> = Vec<Option<Cow<'a, str>>>;

/// Cells in the source's order. Nothing between two commas is null; quoted nothing is empty text.
fn csv_cells<'a>(row: &'a [u8], width: usize, places: &[Option<usize>]) -> Result<Cells<'a>, Unsplit> {
    let unsplit = |reason: String| Unsplit { column: None, reason };
    let text = std::str::from_utf8(row).map_err(|_| unsplit("is not UTF-8".to_owned()))?;
    let fields = csv_fields(text);
    if fields.len() != width {
        return Err(unsplit(format!("has {} fields, the header has {width}", fields.len())));
    }
    Ok(places.iter().map(|place| place.and_then(|place| fields[place].clone())).collect())
}

/// Fields of a row whose quotes are in order.
pub(crate) fn csv_fields(row: &str) -> Vec<Option<Cow<'_, str>>> {
    let mut fields = Vec::new();
    let mut rest = row;
    loop {
        let Some(quoted) = rest.strip_prefix('"') else {
            let (field, more) =
                rest.split_once(',').map_or((rest, None), |(field, more)| (field, Some(more)));
            fields.push((!field.is_empty()).then_some(Cow::Borrowed(field)));
            match more {
                Some(more) => rest = more,
                None => return fields,
            }
            continue;
        };
        let mut end = 0;
        while let Some(quote) = quoted[end..].find('"') {
            end += quote;
            if !quoted[end + 1..].starts_with('"') {
                break;
            }
            end += 2;
        }
        let field = &quoted[..end];
        fields.push(Some(if field.contains('"') {
            field.replace("\"\"", "\"").into()
        } else {
            field.into()
        }));
        match quoted[end + 1..].strip_prefix(',') {
            Some(more) => rest = more,
            None => return fields,
        }
    }
}

/// Cells in the source's order. A key that isn't there is null.
fn json_cells<'a>(row: &[u8], source: &Source) -> Result<Cells<'a>, Unsplit> {
    let unsplit = |reason: String| Unsplit { column: None, reason };
    let row = row.strip_prefix(BYTE_ORDER_MARK).unwrap_or(row);
    let object: serde_json::Map<String, Json> =
        serde_json::from_slice(row).map_err(|error| unsplit(no_object(&error)))?;
    object_cells(object, source)
}

/// The line is told beside the reason; the parser's own is always 1.
fn no_object(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let what = message.rsplit_once(" at line ").map_or(message.as_str(), |(what, _)| what);
    format!("is no JSON object: {what} at character {}", error.column())
}

fn object_cells<'a>(
    mut object: serde_json::Map<String, Json>,
    source: &Source,
) -> Result<Cells<'a>, Unsplit> {
    if let Some(name) = object.keys().find(|name| !source.columns.contains_key(*name)) {
        let reason = format!("`{name}` is no column of source `{}`", source.name);
        return Err(Unsplit { column: Some(name.clone()), reason });
    }
    let cell = |name: &String| match object.remove(name) {
        None | Some(Json::Null) => None,
        Some(Json::String(text)) => Some(Cow::Owned(text)),
        Some(other) => Some(Cow::Owned(other.to_string())),
    };
    Ok(source.columns.keys().map(cell).collect())
}

/// Rows that died once, as they were kept, for another try. Lines of JSON are split again, since a column may have been
/// declared since; lines of CSV that could not be split stay dead.
pub(crate) fn revive<'a>(
    format: Format,
    dead: impl Iterator<Item = &'a DeadRow>,
    source: &Source,
) -> Result<Split, ArrowError> {
    let mut columns = Columns::new(source);
    let mut still = Vec::new();
    for letter in dead {
        let cells = match (serde_json::from_str(&letter.raw), format) {
            (Ok(Json::Object(object)), _) => object_cells(object, source),
            (Ok(Json::String(line)), Format::Jsonl) => json_cells(line.as_bytes(), source),
            _ => Err(Unsplit { column: letter.column.clone(), reason: letter.reason.clone() }),
        };
        match cells {
            Ok(cells) => columns.push(letter.row, letter.line.unwrap_or(0), &cells),
            Err(Unsplit { column, reason }) => still.push(DeadRow { column, reason, ..letter.clone() }),
        }
    }
    Ok(Split { rows: columns.finish(source)?, dead: still })
}

struct Columns {
    rows: Int64Builder,
    lines: Int64Builder,
    texts: Vec<StringBuilder>,
}

impl Columns {
    fn new(source: &Source) -> Self {
        let texts = source.columns.iter().map(|_| StringBuilder::new()).collect();
        Self { rows: Int64Builder::new(), lines: Int64Builder::new(), texts }
    }

    fn push(&mut self, row: i64, line: i64, cells: &Cells<'_>) {
        self.rows.append_value(row);
        self.lines.append_value(line);
        for (column, cell) in self.texts.iter_mut().zip(cells) {
            column.append_option(cell.as_deref());
        }
    }

    fn finish(mut self, source: &Source) -> Result<RecordBatch, ArrowError> {
        let mut fields =
            vec![Field::new("_row", DataType::Int64, false), Field::new("_line", DataType::Int64, false)];
        fields.extend(source.columns.keys().map(|name| Field::new(name, DataType::Utf8, true)));
        let mut arrays: Vec<ArrayRef> = vec![Arc::new(self.rows.finish()), Arc::new(self.lines.finish())];
        arrays.extend(self.texts.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_taken_off_and_nothing_is_null() {
        let field = |text: &'static str| Some(Cow::Borrowed(text));
        assert_eq!(csv_fields(r#"a,,"","b ""c"", d""#), [field("a"), None, field(""), field(r#"b "c", d"#)]);
        assert_eq!(csv_fields("a,"), [field("a"), None]);
    }

    #[test]
    fn a_dead_line_of_json_is_split_again_with_the_columns_of_today() {
        let source: Source = serde_json::from_value(serde_json::json!({
            "name": "s", "meta": {}, "event_time": "at", "available_time": "at",
            "columns": { "late": { "type": "int" }, "at": { "type": "timestamp" } },
        }))
        .unwrap();
        let letter = DeadRow {
            row: 4,
            line: Some(5),
            column: Some("late".to_owned()),
            reason: "`late` is no column of source `s`".to_owned(),
            raw: Json::from(r#"{"late": 7, "at": "2013-06-01"}"#).to_string(),
        };
        let again = revive(Format::Jsonl, [&letter].into_iter(), &source).unwrap();
        assert_eq!((again.rows.num_rows(), again.dead), (1, vec![]));
        // In a CSV the same text was a row that had too few fields.
        let again = revive(Format::Csv, [&letter].into_iter(), &source).unwrap();
        assert_eq!((again.rows.num_rows(), again.dead), (0, vec![letter]));
    }
}
