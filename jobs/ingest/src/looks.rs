//! What a file that doesn't fit looks like: the cause in words, and what to declare, if anything, so that it fits.
//!
//! Nobody acts on a guess: a file is read as it is declared, or refused with this.

use std::{fs::File, io::Read as _, path::Path};

use tidemill_catalog::Format;
use tidemill_rows::text::{
    csv_fields,
    frame::{Dialect, Framing, frames},
};
use tidemill_spec::{Csv, DecimalMark, Encoding, LineEnd, Source, Type};

use crate::{
    Error,
    columns::{Naming, check_header},
    plain::{decoded, unpacked},
};

/// So much of a file is looked at.
const SAMPLE_BYTES: u64 = 64 << 10;
const SAMPLE_ROWS: usize = 100;

/// The error of a file that could not be planned, with what the file looks like, if that can be told.
pub(crate) fn explained(error: Error, path: &Path, format: Format, source: &Source) -> Error {
    let fits_badly =
        matches!(error, Error::Columns { .. } | Error::Unreadable { .. } | Error::LongRow { .. });
    let Some((packing, sample)) = sample(path).filter(|_| fits_badly) else { return error };
    if let Some((what, remedy)) = another_kind(packing, &sample, format) {
        return looks(error, None, source, what, remedy);
    }
    let (csv, found) = csv_of(&sample, source);
    if format != Format::Csv || found.is_empty() {
        return error;
    }
    let change = if csv.is_default() {
        "leave out `csv`".to_owned()
    } else {
        format!("declare `csv: {}`", yaml(&csv))
    };
    let remedy = format!("{change} of source `{}`, `tidemill apply`, then upload again", source.name);
    // What else is wrong with it can be told now.
    let header = header(&text_of(&sample, csv.encoding), &csv);
    looks(error, check_header(&header, source).err(), source, &listed(&found), &remedy)
}

fn looks(error: Error, left: Option<Error>, source: &Source, what: &str, remedy: &str) -> Error {
    let (source_name, what, remedy) = (source.name.clone(), what.to_owned(), remedy.to_owned());
    Error::Looks { source_name, what, remedy, error: Box::new(error), left: left.map(Box::new) }
}

/// The first bytes of a file, without what they are packed with.
fn sample(path: &Path) -> Option<(Option<&'static str>, Vec<u8>)> {
    let mut sample = Vec::new();
    let (packing, bytes) = unpacked(File::open(path).ok()?).ok()?;
    // What is cut off has a beginning still.
    let _ = bytes.take(SAMPLE_BYTES).read_to_end(&mut sample);
    Some((packing, sample))
}

/// What no declaration makes fit, and what does.
fn another_kind(
    packing: Option<&str>,
    sample: &[u8],
    format: Format,
) -> Option<(&'static str, &'static str)> {
    let text = sample.trim_ascii_start();
    Some(match (format, sample) {
        (_, [b'P', b'K', 3, 4, ..]) => {
            ("a ZIP archive or an Excel workbook", "unpack it, or save the sheet as CSV, then upload that")
        }
        (_, [b'B', b'Z', b'h', ..] | [0xfd, b'7', b'z', b'X', b'Z', ..]) => (
            "a file packed with bzip2 or xz",
            "pack it with gzip or zstd, or not at all, then upload it again",
        ),
        (Format::Parquet, _) if packing.is_some() => {
            ("a file packed with gzip or zstd", "unpack it: what Parquet holds is packed already")
        }
        (Format::Csv | Format::Jsonl, [b'P', b'A', b'R', b'1', ..]) => {
            ("Parquet", "upload it with `--format parquet`")
        }
        (Format::Csv, _) if text.starts_with(b"{") => ("lines of JSON", "upload it with `--format jsonl`"),
        (Format::Csv | Format::Jsonl, _) if text.starts_with(b"[") => (
            "a list in JSON",
            "write one object a line, for example with `jq -c '.[]'`, then upload it with `--format jsonl`",
        ),
        (Format::Jsonl, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]) => {
            ("UTF-16", "JSON is UTF-8: write it again in that encoding")
        }
        (Format::Parquet, _) if std::str::from_utf8(&sample[..sample.len().min(1_000)]).is_ok() => {
            ("text", "name its format: `--format csv` or `--format jsonl`")
        }
        _ => return None,
    })
}

/// How the source's CSV would have to be declared for this file, and what is otherwise than it is, in words.
fn csv_of(sample: &[u8], source: &Source) -> (Csv, Vec<String>) {
    let mut csv = source.csv.clone();
    let mut found = Vec::new();
    csv.encoding = encoding_of(sample, csv.encoding);
    if csv.encoding != source.csv.encoding {
        found.push(format!("{} text", csv.encoding.as_str().to_uppercase()));
    }
    let text = text_of(sample, csv.encoding);
    csv.line_end = match (text.contains('\n'), text.contains('\r')) {
        (false, true) => LineEnd::Cr,
        (true, _) => LineEnd::Lf,
        (false, false) => csv.line_end,
    };
    if csv.line_end != source.csv.line_end {
        found.push(match csv.line_end {
            LineEnd::Cr => "carriage returns alone as line ends".to_owned(),
            LineEnd::Lf => "line feeds as line ends".to_owned(),
        });
    }
    csv.delimiter = delimiter_of(&text, &csv, source);
    if csv.delimiter != source.csv.delimiter {
        let between = DELIMITERS.iter().find(|(delimiter, _)| *delimiter == csv.delimiter);
        found.extend(between.map(|(_, called)| format!("{called} between fields")));
    }
    if let Some(number) = decimal_comma(&text, &csv, source) {
        csv.decimal = DecimalMark::Comma;
        found.push(format!("decimal commas (`{number}`)"));
    }
    (csv, found)
}

fn encoding_of(sample: &[u8], declared: Encoding) -> Encoding {
    let with_zero = sample.chunks(2).filter(|pair| pair.contains(&0)).count();
    // A character may be cut at the end of the sample.
    let utf8 = std::str::from_utf8(sample).map_or_else(|error| error.error_len().is_none(), |_| true);
    match sample {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Encoding::Utf16,
        // Every other byte of Western text is zero.
        _ if with_zero > sample.len() / 4 => Encoding::Utf16,
        _ if utf8 && (declared != Encoding::Windows1252 || !sample.is_ascii()) => Encoding::Utf8,
        _ => Encoding::Windows1252,
    }
}

fn text_of(sample: &[u8], encoding: Encoding) -> String {
    let text = String::from_utf8_lossy(&decoded(sample, encoding).unwrap_or_default()).into_owned();
    text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_owned)
}

/// What stands between fields, and what it is called.
const DELIMITERS: [(char, &str); 4] = [(',', "commas"), (';', "semicolons"), ('\t', "tabs"), ('|', "bars")];

/// That between which most of the source's columns are found, or else most fields; the declared one, where no other
/// finds more.
fn delimiter_of(text: &str, csv: &Csv, source: &Source) -> char {
    let found = |delimiter: char| {
        let header = header(text, &Csv { delimiter, ..csv.clone() });
        let names = Naming::of_header(source, &header).names().flatten();
        (names.filter(|name| header.iter().any(|of| of == name)).count(), header.len())
    };
    let others = DELIMITERS.into_iter().map(|(delimiter, _)| delimiter);
    others.fold(csv.delimiter, |best, other| if found(other) > found(best) { other } else { best })
}

fn header(text: &str, csv: &Csv) -> Vec<String> {
    let dialect = Dialect::from(csv);
    let rows =
        frames(text.as_bytes(), Framing::Csv(dialect)).map(|(at, frame)| &text[at..at + frame.content]);
    let first = rows.into_iter().find(|row| !row.is_empty()).unwrap_or_default();
    csv_fields(first, dialect).into_iter().map(|name| name.unwrap_or_default().trim().to_owned()).collect()
}

/// A number with a decimal comma in a column of numbers, where a point is declared.
fn decimal_comma(text: &str, csv: &Csv, source: &Source) -> Option<String> {
    let (dialect, header) = (Dialect::from(csv), header(text, csv));
    let naming = Naming::of_header(source, &header);
    let numbers: Vec<usize> = naming
        .names()
        .zip(source.columns.values())
        .filter(|(_, column)| is_fraction(column.ty) && csv.decimal == DecimalMark::Point)
        .filter_map(|(in_file, _)| header.iter().position(|name| Some(name.as_str()) == in_file))
        .collect();
    let rows = frames(text.as_bytes(), Framing::Csv(dialect)).skip(1).take(SAMPLE_ROWS);
    let cells = rows.filter(|(_, frame)| frame.broken.is_none()).flat_map(|(at, frame)| {
        let fields = csv_fields(&text[at..at + frame.content], dialect);
        numbers
            .iter()
            .filter_map(|place| Some(fields.get(*place)?.as_ref()?.trim().to_owned()))
            .collect::<Vec<_>>()
    });
    cells.into_iter().find(|cell| is_decimal_comma(cell))
}

/// Whether its numbers have a point.
fn is_fraction(ty: Type) -> bool {
    matches!(ty, Type::Float | Type::Decimal(_))
}

fn is_decimal_comma(cell: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = cell.strip_prefix(['-', '+']).unwrap_or(cell);
    unsigned.split_once(',').is_some_and(|(whole, decimals)| digits(whole) && digits(decimals))
}

/// The block as it would be declared.
fn yaml(csv: &Csv) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let usual = Csv::default();
    let fields = [
        (csv.delimiter != usual.delimiter)
            .then(|| format!("delimiter: {}", text(&csv.delimiter.to_string()))),
        (csv.quote != usual.quote).then(|| format!("quote: {}", text(&csv.quote.to_string()))),
        (csv.line_end == LineEnd::Cr).then(|| "line_end: cr".to_owned()),
        (csv.decimal == DecimalMark::Comma).then(|| "decimal: \",\"".to_owned()),
        (csv.encoding != usual.encoding).then(|| format!("encoding: {}", csv.encoding.as_str())),
        csv.null.as_ref().map(|words| {
            format!("null: [{}]", words.iter().map(|word| text(word)).collect::<Vec<_>>().join(", "))
        }),
        csv.date_format.as_ref().map(|format| format!("date_format: {}", text(format))),
        csv.timestamp_format.as_ref().map(|format| format!("timestamp_format: {}", text(format))),
    ];
    let fields: Vec<String> = fields.into_iter().flatten().collect();
    format!("{{ {} }}", fields.join(", "))
}

/// `a`, `a and b`, `a, b and c`.
fn listed(words: &[String]) -> String {
    match words {
        [words @ .., last] if !words.is_empty() => format!("{} and {last}", words.join(", ")),
        _ => words.concat(),
    }
}

#[cfg(test)]
mod tests;
