use std::{collections::BTreeMap, io::Write as _};

use arrow::array::{Array as _, AsArray as _};
use proptest::prelude::*;
use serde_json::Value as Json;
use tidemill_spec::{Column, Csv, Extra, Type};

use super::*;
use crate::{extra::Ignored, split::split};

fn source() -> Source {
    serde_json::from_value(serde_json::json!({
        "name": "s", "meta": {}, "event_time": "at", "available_time": "at",
        "columns": { "a": { "type": "string", "nullable": true }, "at": { "type": "timestamp" } },
    }))
    .unwrap()
}

fn file(text: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text).unwrap();
    file
}

fn limits(chunk_rows: u64) -> Limits {
    Limits { chunk_rows, ..Limits::default() }
}

/// All that comes of a file.
#[derive(Debug, Default, PartialEq)]
struct Read {
    rows: Vec<String>,
    dead: Vec<String>,
    ignored: Ignored,
}

/// Reads a file chunk by chunk; how many chunks there were.
fn read(text: &[u8], format: Format, chunk_rows: u64, source: &Source) -> (Read, usize) {
    let plan = plan(file(text).path(), format, source, &limits(chunk_rows)).unwrap();
    let mut read = Read::default();
    for chunk in &plan.chunks {
        let bytes = &text[usize::try_from(chunk.start).unwrap()..usize::try_from(chunk.end).unwrap()];
        let split = split(format, bytes, chunk, &plan.header, source).unwrap();
        let shown: Vec<_> = split.rows.columns().to_vec();
        let options = arrow::util::display::FormatOptions::default().with_null("∅");
        let columns: Vec<_> = shown
            .iter()
            .map(|column| arrow::util::display::ArrayFormatter::try_new(column.as_ref(), &options).unwrap())
            .collect();
        read.rows.extend((0..split.rows.num_rows()).map(|row| {
            columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|")
        }));
        read.dead.extend(split.dead.into_iter().map(|letter| format!("{letter:?}")));
        read.ignored.extend(&split.ignored);
    }
    (read, plan.chunks.len())
}

/// The source, with what becomes of what it doesn't declare.
fn with(extra: Extra) -> Source {
    let mut source = Source { extra, ..source() };
    if let Some(kept) = source.kept() {
        source.columns.insert(kept.to_owned(), Column { nullable: true, ..Column::of(Type::String) });
    }
    source
}

proptest! {
    #[test]
    fn any_cut_gives_the_rows_and_dead_letters_of_one_chunk(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "a", "1", "\"", "\"\"", ",", ",", "\n", "\n", "\r\n", "x\"y", "\"q\nq\",", "é", " ",
        ]), 0..60),
        header in prop::sample::select(vec!["a,at", "more,at,a", "at"]),
        extra in prop::sample::select(vec![Extra::Ignore, Extra::Keep]),
        old in any::<bool>(),
        chunk_rows in 1_u64..5,
    ) {
        let mut source = with(extra);
        let mut text = format!("{header}\n{}", pieces.concat());
        if old {
            source.csv = Csv { delimiter: ';', quote: '\'', line_end: LineEnd::Cr, ..Csv::default() };
            text = text.replace(',', ";").replace('"', "'").replace("\r\n", "\n").replace('\n', "\r");
        }
        let whole = read(text.as_bytes(), Format::Csv, 1_000, &source);
        let cut = read(text.as_bytes(), Format::Csv, chunk_rows, &source);
        prop_assert_eq!(whole.0, cut.0);
    }

    #[test]
    fn any_cut_of_json_lines_gives_the_same_too(
        lines in prop::collection::vec(prop::sample::select(vec![
            r#"{"a":"x","at":"2013-01-01"}"#, r#"{"at":1}"#, "{", "", r#"{"b":2}"#, "[]", r#"{"a":{"n":1}}"#,
        ]), 0..20),
        extra in prop::sample::select(vec![Extra::Ignore, Extra::Keep, Extra::Reject]),
        chunk_rows in 1_u64..5,
    ) {
        let text = format!("{{\"at\":\"2013-01-01\"}}\n{}", lines.join("\n"));
        let whole = read(text.as_bytes(), Format::Jsonl, 1_000, &with(extra));
        let cut = read(text.as_bytes(), Format::Jsonl, chunk_rows, &with(extra));
        prop_assert_eq!(whole.0, cut.0);
    }

    /// What is between quotes is the field, whatever stands around it.
    #[test]
    fn a_file_of_any_dialect_has_the_fields_that_were_written(
        rows in prop::collection::vec(prop::collection::vec(prop::sample::select(vec![
            None, Some(""), Some("a"), Some("1,5"), Some("x;y"), Some("\t|"), Some("it's \"so\""), Some("a\nb"),
            Some("a\r\nb"), Some("\r"), Some("é"), Some("'"), Some("\""), Some("a|b;c,d"),
        ]), 2), 0..12),
        delimiter in prop::sample::select(vec![',', ';', '\t', '|', ' ']),
        quote in prop::sample::select(vec!['"', '\'']),
        line_end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        chunk_rows in 1_u64..5,
    ) {
        let ends = if line_end == "\r" { LineEnd::Cr } else { LineEnd::Lf };
        let source = Source { csv: Csv { delimiter, quote, line_end: ends, ..Csv::default() }, ..source() };
        let quoted = |text: &str| format!("{quote}{}{quote}", text.replace(quote, &format!("{quote}{quote}")));
        let written = |cells: &Vec<Option<&str>>| {
            let cells: Vec<_> = cells.iter().map(|cell| cell.map(quoted).unwrap_or_default()).collect();
            cells.join(&delimiter.to_string())
        };
        let lines = [format!("a{delimiter}at")].into_iter().chain(rows.iter().map(written));
        let text: String = lines.map(|line| line + line_end).collect();
        let shown = |cells: &Vec<Option<&str>>| cells.iter().map(|cell| cell.unwrap_or("∅")).collect::<Vec<_>>().join("|");
        let (read, _) = read(text.as_bytes(), Format::Csv, chunk_rows, &source);
        let fields: Vec<_> = read.rows.iter().map(|row| row.splitn(3, '|').nth(2).unwrap().to_owned()).collect();
        prop_assert_eq!(fields, rows.iter().map(shown).collect::<Vec<_>>());
        prop_assert!(read.dead.is_empty());
    }

    /// Of a row nothing is lost: what is declared is in its columns, the rest as JSON beside them.
    #[test]
    fn what_is_kept_is_every_value_that_is_not_declared(
        rows in prop::collection::vec(prop::collection::btree_map("[a-e]{1,2}", prop_oneof![
            Just(Json::Null), any::<i64>().prop_map(Json::from), any::<String>().prop_map(Json::from),
            any::<bool>().prop_map(Json::from), Just(serde_json::json!({"x": [1, null]})),
        ], 0..6), 1..10),
    ) {
        let first = r#"{"at":"2013-01-01"}"#.to_owned();
        let lines = rows.iter().map(|row| serde_json::json!(row).to_string());
        let text = [first].into_iter().chain(lines).collect::<Vec<_>>().join("\n");
        let source = with(Extra::Keep);
        let plan = plan(file(text.as_bytes()).path(), Format::Jsonl, &source, &limits(100)).unwrap();
        let split = split(Format::Jsonl, text.as_bytes(), &plan.chunks[0], &plan.header, &source).unwrap();
        let kept = split.rows.column_by_name("extra").unwrap().as_string::<i32>();
        prop_assert!(kept.is_null(0));
        for (place, row) in rows.iter().enumerate() {
            let expected: BTreeMap<&String, &Json> =
                row.iter().filter(|(name, value)| *name != "a" && !value.is_null()).collect();
            let found = kept.is_valid(place + 1).then(|| kept.value(place + 1));
            let found: BTreeMap<String, Json> =
                found.map(|text| serde_json::from_str(text).unwrap()).unwrap_or_default();
            prop_assert_eq!(found.iter().collect::<BTreeMap<_, _>>(), expected);
        }
    }
}

#[test]
fn rows_and_lines_are_counted_through_the_file() {
    let text = b"\xef\xbb\xbfa,at\r\n\"x\ny\",1\n\nz\n,2";
    let (Read { rows, dead, .. }, chunks) = read(text, Format::Csv, 1, &source());
    assert_eq!(rows, ["0|2|x\ny|1", "2|6|∅|2"]);
    assert!(dead[0].contains("row: 1, line: Some(5)") && dead[0].contains("has 1 fields, the header has 2"));
    assert_eq!(chunks, 3);
}

#[test]
fn columns_that_differ_are_told_all_at_once() {
    let source = source();
    let told = |text: &str, format| {
        plan(file(text.as_bytes()).path(), format, &source, &limits(9)).unwrap_err().to_string()
    };
    assert_eq!(
        told("a,a,att\n", Format::Csv),
        "the file's columns are not those of source `s`: column `a` occurs twice; \
         column `att` is unknown, did you mean `at`?; column `at` is missing"
    );
    assert_eq!(
        told("{\"zzz\":1}\n", Format::Jsonl),
        "the file's columns are not those of source `s`: column `zzz` is unknown; column `at` is missing"
    );
    let more = |extra, header: &str| {
        plan(file(header.as_bytes()).path(), Format::Csv, &with(extra), &limits(9))
            .map(drop)
            .map_err(|error| error.to_string())
    };
    assert_eq!(more(Extra::Ignore, "a,at,more,,\n"), Ok(()));
    assert_eq!(more(Extra::Keep, "a,at,more,extra\n"), Ok(()));
    let meant = "the file's columns are not those of source `s`: column `_A` is unknown, did you mean `a`?";
    assert_eq!(more(Extra::Ignore, "_A,at\n"), Err(meant.to_owned()));
    assert_eq!(more(Extra::Ignore, "_A,a,at\n"), Ok(()));
    let why = "the file's columns are not those of source `s`: column `more`";
    assert_eq!(more(Extra::Keep, "a,at,more,more\n"), Err(format!("{why} occurs twice")));
    assert_eq!(more(Extra::Reject, "a,at,more\n"), Err(format!("{why} is unknown")));
    let mut source = source.clone();
    source.columns["at"].from = Some("Event Time".to_owned());
    let error = plan(file(b"Event time\n").path(), Format::Csv, &source, &limits(9)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the file's columns are not those of source `s`: column `Event time` is unknown, did you mean `Event Time`?; \
         column `at` (`Event Time` in the file) is missing"
    );
    source.columns["a"].from = Some("Name".to_owned());
    let error = plan(file(b"a,Event Time\n").path(), Format::Csv, &source, &limits(9)).unwrap_err();
    assert!(error.to_string().ends_with("column `a` is unknown, did you mean `Name`?"), "{error}");
    assert!(told("", Format::Csv).contains("no header"));
    assert!(told("not parquet", Format::Parquet).starts_with("the file can't be read as parquet"));
}

#[test]
fn a_broken_parquet_is_told_in_words_that_name_no_statement_of_ours() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    std::fs::write(&path, "PAR1 and then nothing that makes sense PAR1").unwrap();
    let error = parquet_outline(&path).unwrap_err();
    assert!(error.contains("the file") && !error.contains('\n'), "{error}");
    for ours in ["SELECT", "Error code", "LINE 1", "/tmp"] {
        assert!(!error.contains(ours), "{error}");
    }
}
