use std::io::Write as _;

use proptest::prelude::*;

use super::*;
use crate::split::split;

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

/// Rows and dead letters of a file, chunk by chunk.
fn split_all(text: &[u8], format: Format, chunk_rows: u64) -> (Vec<String>, Vec<String>, usize) {
    let source = source();
    let plan = plan(file(text).path(), format, &source, &limits(chunk_rows)).unwrap();
    let (mut rows, mut dead) = (Vec::new(), Vec::new());
    for chunk in &plan.chunks {
        let bytes = &text[usize::try_from(chunk.start).unwrap()..usize::try_from(chunk.end).unwrap()];
        let split = split(format, bytes, chunk, &plan.header, &source).unwrap();
        let shown: Vec<_> = split.rows.columns().to_vec();
        let options = arrow::util::display::FormatOptions::default().with_null("∅");
        let columns: Vec<_> = shown
            .iter()
            .map(|column| arrow::util::display::ArrayFormatter::try_new(column.as_ref(), &options).unwrap())
            .collect();
        rows.extend((0..split.rows.num_rows()).map(|row| {
            columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|")
        }));
        dead.extend(split.dead.into_iter().map(|letter| format!("{letter:?}")));
    }
    (rows, dead, plan.chunks.len())
}

proptest! {
    #[test]
    fn any_cut_gives_the_rows_and_dead_letters_of_one_chunk(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "a", "1", "\"", "\"\"", ",", ",", "\n", "\n", "\r\n", "x\"y", "\"q\nq\",", "é", " ",
        ]), 0..60),
        chunk_rows in 1_u64..5,
    ) {
        let text = format!("a,at\n{}", pieces.concat());
        let whole = split_all(text.as_bytes(), Format::Csv, 1_000);
        let cut = split_all(text.as_bytes(), Format::Csv, chunk_rows);
        prop_assert_eq!((whole.0, whole.1), (cut.0, cut.1));
    }

    #[test]
    fn any_cut_of_json_lines_gives_the_same_too(
        lines in prop::collection::vec(prop::sample::select(vec![
            r#"{"a":"x","at":"2013-01-01"}"#, r#"{"at":1}"#, "{", "", r#"{"b":2}"#, "[]", r#"{"a":{"n":1}}"#,
        ]), 0..20),
        chunk_rows in 1_u64..5,
    ) {
        let text = format!("{{\"at\":\"2013-01-01\"}}\n{}", lines.join("\n"));
        let whole = split_all(text.as_bytes(), Format::Jsonl, 1_000);
        let cut = split_all(text.as_bytes(), Format::Jsonl, chunk_rows);
        prop_assert_eq!((whole.0, whole.1), (cut.0, cut.1));
    }
}

#[test]
fn rows_and_lines_are_counted_through_the_file() {
    let (rows, dead, chunks) = split_all(b"\xef\xbb\xbfa,at\r\n\"x\ny\",1\n\nz\n,2", Format::Csv, 1);
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
    let mut source = source.clone();
    source.columns["at"].from = Some("Event Time".to_owned());
    let error = plan(file(b"Event time\n").path(), Format::Csv, &source, &limits(9)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the file's columns are not those of source `s`: column `Event time` is unknown, did you mean `Event Time`?; \
         column `at` (`Event Time` in the file) is missing"
    );
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
