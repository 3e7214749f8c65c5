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
use base64::{Engine as _, prelude::BASE64_STANDARD};
use chrono::SecondsFormat;
use serde_json::Value as Json;
use tidemill_catalog::{ChunkPlan, Format};
use tidemill_offline::upload::DeadRow;
use tidemill_rows::text::{
    self, Cell, csv_fields, field_at,
    frame::{Dialect, Framing, frames},
};
use tidemill_spec::{Encoding, Extra, Source, Stream, StreamFormat};

use crate::{
    Record,
    columns::Naming,
    extra::{Ignored, kept},
    plan::framing,
};

/// A chunk of text, split.
#[derive(Debug)]
pub(crate) struct Split {
    /// `_row`, `_line` and the source's columns as text.
    pub(crate) rows: RecordBatch,
    /// Rows that can't be split.
    pub(crate) dead: Vec<DeadRow>,
    /// What the rows had beyond the source's columns, where that is ignored.
    pub(crate) ignored: Ignored,
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
    let (mut dead, mut ignored) = (Vec::new(), Ignored::default());
    let header = Header::new(source, header);
    let (mut row, mut line) = (signed(plan.rows_before), signed(plan.lines_before) + 1);
    for (at, frame) in frames(bytes, framing(format, source)) {
        let content = &bytes[at..at + frame.content];
        if !content.is_empty() {
            let cells = match (frame.broken, format) {
                (Some(why), _) => Err(Unsplit { column: None, reason: why.to_owned() }),
                (None, Format::Csv) => csv_cells(content, &header, source),
                (None, _) => json_cells(content, source, &mut ignored),
            };
            match cells {
                Ok(cells) => columns.push(row, Some(line), &cells),
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
    let rows = columns.finish(source)?;
    if source.extra == Extra::Ignore {
        header.extra.iter().for_each(|(_, name)| ignored.add(name, rows.num_rows() as u64));
    }
    Ok(Split { rows, dead, ignored })
}

/// How the values of a stream's records are written, as files have it.
pub(crate) fn format_of(stream: &Stream) -> Format {
    match stream.format {
        StreamFormat::Json => Format::Jsonl,
        StreamFormat::Csv => Format::Csv,
    }
}

/// Splits records, each of which is a row.
pub(crate) fn records(records: &[Record], stream: &Stream, source: &Source) -> Result<Split, ArrowError> {
    let mut columns = Columns::new(source);
    let (mut dead, mut ignored) = (Vec::new(), Ignored::default());
    let header: Vec<String> =
        source.columns.iter().map(|(name, column)| column.in_files(name).to_owned()).collect();
    let header = Header::new(source, &header);
    let framing = framing(Format::Csv, source);
    let csv_row = |value| csv_row(value, framing);
    for record in records {
        let mut cells = match (&record.value, format_of(stream)) {
            (None, _) => tombstone(record, stream, source),
            (Some(value), Format::Csv) => csv_row(value).and_then(|row| csv_cells(row, &header, source)),
            (Some(value), _) => json_cells(value, source, &mut ignored),
        };
        if let Ok(filled) = &mut cells
            && let Err(unsplit) = fill_key(filled, record, stream, source)
        {
            cells = Err(unsplit);
        }
        match cells {
            Ok(cells) => columns.push(record.row(), None, &cells),
            Err(Unsplit { column, reason }) => {
                dead.push(DeadRow { row: record.row(), line: None, column, reason, raw: raw(record) });
            }
        }
    }
    Ok(Split { rows: columns.finish(source)?, dead, ignored })
}

/// The one row of a CSV that a value is, without its end.
fn csv_row(value: &[u8], framing: Framing) -> Result<&[u8], Unsplit> {
    let unsplit = |reason: &str| Err(Unsplit { column: None, reason: reason.to_owned() });
    let mut rows = frames(value, framing).filter(|(_, frame)| frame.content > 0);
    match (rows.next(), rows.next()) {
        (None, _) => unsplit("holds no row"),
        (Some((_, frame)), None) if frame.broken.is_some() => unsplit(frame.broken.unwrap_or_default()),
        (Some((at, frame)), None) => Ok(&value[at..at + frame.content]),
        (Some(_), Some(_)) => unsplit("holds more than one row"),
    }
}

/// A record without a value says that what its key names is gone.
fn tombstone<'a>(record: &Record, stream: &Stream, source: &Source) -> Result<Cells<'a>, Unsplit> {
    let unsplit = |reason: &str| Err(Unsplit { column: None, reason: reason.to_owned() });
    let Some(deleted) = &source.deleted else {
        return unsplit(
            "has no value, and the source declares no `deleted` column that would say what that means",
        );
    };
    if stream.key.is_none() || record.key.is_none() {
        return unsplit("has no value, and no key that would say what is gone");
    }
    let at = record.at.map(|at| at.to_rfc3339_opts(SecondsFormat::Micros, true));
    let cell = |name: &String| match name {
        name if name == deleted => Some(Cow::Borrowed("true")),
        name if source.is_time(name) => at.clone().map(Cow::Owned),
        _ => None,
    };
    Ok(source.columns.keys().map(cell).collect())
}

/// The column that a record's key is, where the value doesn't say it.
fn fill_key(cells: &mut Cells<'_>, record: &Record, stream: &Stream, source: &Source) -> Result<(), Unsplit> {
    let Some((name, key)) = stream.key.as_ref().zip(record.key.as_ref()) else { return Ok(()) };
    let place = source.columns.get_index_of(name).and_then(|place| cells.get_mut(place));
    let Some(cell) = place.filter(|cell| cell.is_none()) else { return Ok(()) };
    let key = std::str::from_utf8(key).map_err(|_| Unsplit {
        column: Some(name.clone()),
        reason: format!("`{name}` is the record's key, which is not UTF-8"),
    })?;
    *cell = Some(Cow::Owned(key.to_owned()));
    Ok(())
}

/// A record as its dead letter keeps it: the value as text, or what its bytes are where they are none.
fn raw(record: &Record) -> String {
    let Some(value) = &record.value else { return Json::Null.to_string() };
    let raw = match std::str::from_utf8(value) {
        Ok(text) => Json::from(text),
        Err(_) => Json::from(vec!["base64".to_owned(), BASE64_STANDARD.encode(value)]),
    };
    raw.to_string()
}

/// Where things stand in the rows of a CSV.
struct Header<'h> {
    dialect: Dialect,
    width: usize,
    /// Each column of the source, where the file has it.
    places: Vec<Option<usize>>,
    /// What is no column's.
    extra: Vec<(usize, &'h str)>,
}

impl<'h> Header<'h> {
    fn new(source: &Source, header: &'h [String]) -> Self {
        let naming = Naming::of_header(source, header);
        let place = |name: &str| header.iter().position(|column| column == name);
        let extra = naming.extra(header).into_iter();
        Self {
            dialect: Dialect::from(&source.csv),
            width: header.len(),
            places: naming.names().map(|in_file| place(in_file?)).collect(),
            extra: extra.filter_map(|name| Some((place(name)?, name))).collect(),
        }
    }
}

/// Why a row can't be split.
struct Unsplit {
    column: Option<String>,
    reason: String,
}

type Cells<'a> = Vec<Option<Cow<'a, str>>>;

/// Cells in the source's order. Nothing between two delimiters is null; quoted nothing is empty text.
fn csv_cells<'a>(row: &'a [u8], header: &Header<'_>, source: &Source) -> Result<Cells<'a>, Unsplit> {
    let unsplit = |reason: String| Unsplit { column: None, reason };
    let text = std::str::from_utf8(row).map_err(|_| unsplit(not_of(source.csv.encoding)))?;
    let fields = csv_fields(text, header.dialect);
    if fields.len() != header.width {
        return Err(unsplit(format!("has {} fields, the header has {}", fields.len(), header.width)));
    }
    let mut cells: Cells<'_> =
        header.places.iter().map(|place| place.and_then(|place| fields[place].clone())).collect();
    keep(&mut cells, source, || {
        header.extra.iter().map(|(place, name)| {
            let cell = fields[*place].as_ref().map(|text| Cell { text: text.to_string(), quoted: true });
            (*name, cell)
        })
    });
    Ok(cells)
}

/// A row that is no text in its encoding, and which one that may be.
fn not_of(encoding: Encoding) -> String {
    let is_not = format!("is not {}", encoding.as_str().to_uppercase());
    match encoding {
        Encoding::Utf8 => {
            is_not + "; Western text of old programs is read with `csv: { encoding: windows-1252 }`"
        }
        _ => is_not,
    }
}

/// Cells in the source's order. A key that isn't there is null, and so is a path that ends early.
fn json_cells<'a>(row: &[u8], source: &Source, ignored: &mut Ignored) -> Result<Cells<'a>, Unsplit> {
    let unsplit = |reason: String| Unsplit { column: None, reason };
    let mut fields = text::json_fields(row).map_err(|why| unsplit(format!("is not a JSON object: {why}")))?;
    let naming = Naming::of_object(source, |name| fields.contains_key(name));
    // Paths first: what they lead through may be a column itself.
    let mut cells: Cells<'_> = Vec::with_capacity(source.columns.len());
    for ((name, column), in_file) in source.columns.iter().zip(naming.names()) {
        let path = in_file.filter(|name| name.contains('.') && !fields.contains_key(*name));
        let cell = path.map(|path| field_at(&fields, path)).transpose().map_err(|why| Unsplit {
            column: Some(name.clone()),
            reason: format!("{} can't be read: {why}", column.told(name)),
        })?;
        cells.push(cell.flatten().map(|cell| Cow::Owned(cell.text)));
    }
    for (cell, in_file) in cells.iter_mut().zip(naming.names()) {
        if let Some(Some(found)) = in_file.and_then(|name| fields.swap_remove(name)) {
            *cell = Some(Cow::Owned(found.text));
        }
    }
    let extra = || fields.iter().filter(|(name, _)| !naming.own(name) && !naming.holds(name));
    match source.extra {
        Extra::Ignore => extra().for_each(|(name, _)| ignored.add(name, 1)),
        Extra::Keep => keep(&mut cells, source, || extra().map(|(name, cell)| (name.as_str(), cell.clone()))),
        Extra::Reject => {
            if let Some(name) = extra().map(|(name, _)| name).min() {
                let reason = format!("`{name}` is no column of source `{}`", source.name);
                return Err(Unsplit { column: Some(name.clone()), reason });
            }
        }
    }
    Ok(cells)
}

/// Puts what a row has beyond the source's columns into the column that keeps it, where there is one and it is not an
/// exported row's.
fn keep<'n, E: Iterator<Item = (&'n str, Option<Cell>)>>(
    cells: &mut Cells<'_>,
    source: &Source,
    extra: impl FnOnce() -> E,
) {
    let place = source.kept().and_then(|kept| source.columns.get_index_of(kept));
    if let Some(cell) = place.and_then(|place| cells.get_mut(place)).filter(|cell| cell.is_none()) {
        *cell = kept(extra()).map(Cow::Owned);
    }
}

/// Cells of a row that was split before, by declared names.
fn declared_cells<'a>(row: &str, source: &Source) -> Result<Cells<'a>, Unsplit> {
    let unsplit = |reason| Unsplit { column: None, reason };
    let mut cells = text::json_fields(row.as_bytes()).map_err(unsplit)?;
    let cell = |name| cells.swap_remove(name).flatten().map(|cell| Cow::Owned(cell.text));
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
    let (mut still, mut ignored) = (Vec::new(), Ignored::default());
    for letter in dead {
        let cells = match (serde_json::from_str(&letter.raw), format) {
            (Ok(Json::Object(_)), _) => declared_cells(&letter.raw, source),
            (Ok(Json::String(line)), Format::Jsonl) => json_cells(line.as_bytes(), source, &mut ignored),
            _ => Err(Unsplit { column: letter.column.clone(), reason: letter.reason.clone() }),
        };
        match cells {
            Ok(cells) => columns.push(letter.row, letter.line, &cells),
            Err(Unsplit { column, reason }) => still.push(DeadRow { column, reason, ..letter.clone() }),
        }
    }
    Ok(Split { rows: columns.finish(source)?, dead: still, ignored })
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

    fn push(&mut self, row: i64, line: Option<i64>, cells: &Cells<'_>) {
        self.rows.append_value(row);
        self.lines.append_option(line);
        for (column, cell) in self.texts.iter_mut().zip(cells) {
            column.append_option(cell.as_deref());
        }
    }

    fn finish(mut self, source: &Source) -> Result<RecordBatch, ArrowError> {
        let mut fields =
            vec![Field::new("_row", DataType::Int64, false), Field::new("_line", DataType::Int64, true)];
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
        let mut without = source.clone();
        without.columns.swap_remove("late");
        for (extra, rows) in [(Extra::Reject, 0), (Extra::Ignore, 1)] {
            let source = Source { extra, ..without.clone() };
            assert_eq!(revive(Format::Jsonl, [&letter].into_iter(), &source).unwrap().rows.num_rows(), rows);
        }
        let again = revive(Format::Jsonl, [&letter].into_iter(), &source).unwrap();
        assert_eq!((again.rows.num_rows(), again.dead), (1, vec![]));
        // In a CSV the same text was a row that had too few fields.
        let again = revive(Format::Csv, [&letter].into_iter(), &source).unwrap();
        assert_eq!((again.rows.num_rows(), again.dead), (0, vec![letter]));
    }
}
