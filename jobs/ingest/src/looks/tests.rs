use arrow::array::AsArray as _;
use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use tidemill_spec::{LoadOptions, diagnostic::SourceFile, load_files};

use super::*;
use crate::{Limits, accept::read, split::split};

/// The source `weather`, with a line of YAML more.
fn source(more: &str) -> Source {
    let text = format!(
        "apiVersion: tidemill/v1\nkind: Project\nname: test\n---\napiVersion: tidemill/v1\nkind: Source\nname: weather\n\
         columns: {{ origin: string, observed_at: timestamp, temp: {{ type: float, nullable: true }} }}\n\
         event_time: observed_at\n{more}\n"
    );
    let file = SourceFile { path: "tidemill.yaml".to_owned(), text };
    let mut loaded = load_files(vec![file], &LoadOptions::default());
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    loaded.objects.sources.swap_remove("weather").unwrap()
}

/// Cells of all rows of a file that is accepted.
fn cells(bytes: &[u8], format: Format, source: &Source) -> Result<Vec<Vec<Option<String>>>, Error> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let (plain, plan) = read(file.path(), format, source, &Limits::default())
        .map_err(|error| explained(error, file.path(), format, source))?;
    let bytes = std::fs::read(plain.as_ref().map_or(file.path(), |plain| plain.path())).unwrap();
    let mut rows = Vec::new();
    for chunk in &plan.chunks {
        let (start, end) = (usize::try_from(chunk.start).unwrap(), usize::try_from(chunk.end).unwrap());
        let split = split(format, &bytes[start..end], chunk, &plan.header, source).unwrap();
        assert_eq!(split.dead, []);
        let column = |place: usize| split.rows.column(place).as_string::<i32>();
        rows.extend((0..split.rows.num_rows()).map(|row| {
            (2..split.rows.num_columns())
                .map(|place| column(place).iter().nth(row).unwrap().map(str::to_owned))
                .collect()
        }));
    }
    Ok(rows)
}

fn told(bytes: &[u8], format: Format, source: &Source) -> (String, String) {
    let fault = cells(bytes, format, source).unwrap_err().fault().unwrap();
    (fault.message, fault.hint.unwrap())
}

/// The YAML that an error tells to add.
fn advised(hint: &str) -> String {
    let (_, yaml) = hint.split_once("declare `").unwrap();
    yaml.split_once("` of source").unwrap().0.to_owned()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn western(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

proptest! {
    /// However many things are otherwise than declared, one correction is enough.
    #[test]
    fn what_is_told_to_be_declared_makes_the_file_fit(
        delimiter in prop::sample::select(vec![',', ';', '\t', '|']),
        comma in any::<bool>(),
        encoding in 0..4_usize,
        line_end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        packed in any::<bool>(),
        temps in prop::collection::vec((1..90_u32, 0..100_u32), 1..20),
    ) {
        let number = |(whole, part): &(u32, u32)| format!("{whole}{}{part:02}", if comma { ',' } else { '.' });
        let header = ["origin", "observed_at", "temp", "Größe"].join(&delimiter.to_string());
        let row = |temp: &(u32, u32)| {
            ["\"Zürich\"", "2013-01-01", &format!("\"{}\"", number(temp)), ""].join(&delimiter.to_string())
        };
        let lines: Vec<_> = [header].into_iter().chain(temps.iter().map(row)).collect();
        let text = lines.join(line_end) + line_end;
        let mut bytes = match encoding {
            0 => text.into_bytes(),
            1 => utf16(&text),
            2 => utf16(&format!("\u{feff}{text}")),
            _ => western(&text),
        };
        if packed {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            std::io::Write::write_all(&mut encoder, &bytes).unwrap();
            bytes = encoder.finish().unwrap();
        }
        let expected: Vec<_> = temps
            .iter()
            .map(|temp| vec![Some("Zürich".to_owned()), Some("2013-01-01".to_owned()), Some(number(temp))])
            .collect();
        let usual = delimiter == ',' && encoding == 0 && line_end != "\r";
        match cells(&bytes, Format::Csv, &source("")) {
            Ok(read) => {
                prop_assert!(usual);
                prop_assert_eq!(read, expected);
            }
            Err(error) => {
                prop_assert!(!usual);
                let fault = error.fault().unwrap();
                let source = source(&advised(&fault.hint.unwrap()));
                prop_assert_eq!(source.csv.decimal == DecimalMark::Comma, comma);
                prop_assert_eq!(cells(&bytes, Format::Csv, &source).unwrap(), expected);
            }
        }
    }
}

#[test]
fn the_cause_and_the_yaml_are_named_and_what_else_is_wrong() {
    let usual = source("");
    let text = "Origin;observed_at;temp\nJFK;2013-01-01;1,5\n";
    let fault = cells(text.as_bytes(), Format::Csv, &usual).unwrap_err().fault().unwrap();
    assert_eq!(
        fault.message,
        "the file does not fit source `weather`: it looks like semicolons between fields and decimal commas (`1,5`)"
    );
    assert_eq!(
        fault.hint.as_deref(),
        Some(
            "declare `csv: { delimiter: \";\", decimal: \",\" }` of source `weather`, `tidemill apply`, then upload again"
        )
    );
    assert_eq!(
        fault.detail.as_deref(),
        Some(
            "the file's columns are not those of source `weather`: column `Origin` is unknown, did you mean `origin`?; \
             column `origin` is missing"
        )
    );
    let fits = cells(text.replace("Origin", "origin").as_bytes(), Format::Csv, &usual).unwrap_err();
    assert_eq!(fits.fault().unwrap().detail, None);
    let (message, _) = told(&utf16("origin,observed_at\rJFK,2013-01-01\r"), Format::Csv, &usual);
    assert!(
        message.ends_with("it looks like UTF-16 text and carriage returns alone as line ends"),
        "{message}"
    );
    let (message, hint) =
        told(b"origin,observed_at\nJFK,2013-01-01\n", Format::Csv, &source("csv: { delimiter: \";\" }"));
    assert!(message.ends_with("it looks like commas between fields"), "{message}");
    assert_eq!(hint, "leave out `csv` of source `weather`, `tidemill apply`, then upload again");
    for text in ["origin,observed_at\r\nJFK,2013-01-01\r\n", "origin,observed_at\nJFK,2013-01-01\n"] {
        let (message, _) = told(text.as_bytes(), Format::Csv, &source("csv: { line_end: cr }"));
        assert!(message.ends_with("it looks like line feeds as line ends"), "{message}");
    }
    // What is declared beside it stays.
    let declared = source("csv: { null: [\"-\", \"\"], date_format: \"%d.%m.%Y\" }");
    let (_, hint) = told(b"origin\tobserved_at\n", Format::Csv, &declared);
    let advised = advised(&hint);
    assert_eq!(advised, r#"csv: { delimiter: "\t", null: ["-", ""], date_format: "%d.%m.%Y" }"#);
    assert_eq!(source(&advised).csv, Csv { delimiter: '\t', ..declared.csv });
    // Names that differ are no other way of writing.
    let (message, _) = told(b"Origin,Observed at\n", Format::Csv, &usual);
    assert!(message.starts_with("the file's columns are not those of source `weather`"), "{message}");
}

#[test]
fn another_kind_of_file_is_named_with_what_to_do() {
    let gzip = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    for (format, bytes, what, remedy) in [
        (Format::Csv, &b"PK\x03\x04sheet"[..], "a ZIP archive or an Excel workbook", "save the sheet as CSV"),
        (Format::Csv, b"BZh91AY", "a file packed with bzip2 or xz", "gzip or zstd"),
        (Format::Csv, b"PAR1", "Parquet", "--format parquet"),
        (Format::Csv, b"{\"origin\": 1}\n", "lines of JSON", "--format jsonl"),
        (Format::Csv, b"[{\"origin\": 1}]", "a list in JSON", "jq -c"),
        (Format::Parquet, &gzip, "a file packed with gzip or zstd", "unpack it"),
        (Format::Parquet, b"origin,observed_at\n", "text", "--format csv"),
    ] {
        let (message, hint) = told(bytes, format, &source(""));
        assert!(
            message.ends_with(&format!("it looks like {what}")) && hint.contains(remedy),
            "{message} {hint}"
        );
    }
}
