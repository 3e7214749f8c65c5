//! Where the rows of a text file begin and end.
//!
//! The planner cuts a file with this and the chunk's job splits its part with it again. Both must see the same rows
//! wherever a cut fell, so a frame depends on nothing before its first byte, and what follows it can only be missed
//! in ways that a cut at a row's end can't bring about.

use tidemill_spec::{Csv, LineEnd};

/// A quoted field that isn't closed within this many bytes of its row's start counts as never closed: one stray quote
/// costs a row, not the rest of the file.
const QUOTED_BYTES_MAX: usize = 1 << 20;

/// One row with its line end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Bytes without the line end.
    pub content: usize,
    /// Bytes with it.
    pub length: usize,
    /// Line ends in it.
    pub lines: u64,
    /// Why it can't be split into fields.
    pub broken: Option<&'static str>,
}

/// What stands between and around the fields of a CSV, each an ASCII character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// Between fields.
    pub delimiter: u8,
    /// Around fields that hold delimiters or line ends.
    pub quote: u8,
    /// After a row; a carriage return before a line feed belongs to it.
    pub line_end: u8,
}

impl Default for Dialect {
    fn default() -> Self {
        Self { delimiter: b',', quote: b'"', line_end: b'\n' }
    }
}

impl From<&Csv> for Dialect {
    fn from(csv: &Csv) -> Self {
        let byte = |mark: char, usual: u8| u8::try_from(mark).unwrap_or(usual);
        let usual = Self::default();
        Self {
            delimiter: byte(csv.delimiter, usual.delimiter),
            quote: byte(csv.quote, usual.quote),
            line_end: if csv.line_end == LineEnd::Cr { b'\r' } else { b'\n' },
        }
    }
}

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// A line.
    Lines,
    /// Fields, of which quoted ones may hold line ends.
    Csv(Dialect),
}

impl Framing {
    /// Finds the first frame of `bytes`; none when more bytes are needed, which never happens when they are `complete`
    /// and not empty.
    pub fn first(self, bytes: &[u8], complete: bool) -> Option<Frame> {
        match self {
            Self::Lines => line(bytes, complete, b'\n'),
            Self::Csv(dialect) => csv(bytes, complete, dialect),
        }
    }
}

fn line(bytes: &[u8], complete: bool, line_end: u8) -> Option<Frame> {
    let (length, lines) = match bytes.iter().position(|byte| *byte == line_end) {
        Some(end) => (end + 1, 1),
        None if complete && !bytes.is_empty() => (bytes.len(), 0),
        None => return None,
    };
    Some(Frame { content: content(&bytes[..length], line_end), length, lines, broken: None })
}

/// A row of fields, of which quoted ones may hold line ends. With a fault in its quotes, the row is its first line alone.
fn csv(bytes: &[u8], complete: bool, dialect: Dialect) -> Option<Frame> {
    let Dialect { delimiter, quote, line_end } = dialect;
    let mut at = 0;
    loop {
        if bytes.get(at) != Some(&quote) {
            // To the next field, or the end of the row.
            match bytes[at..].iter().position(|byte| *byte == delimiter || *byte == line_end) {
                Some(end) if bytes[at + end] == delimiter => at += end + 1,
                Some(end) => return Some(ended(bytes, at + end + 1, line_end)),
                None if complete && !bytes.is_empty() => return Some(ended(bytes, bytes.len(), line_end)),
                None => return None,
            }
            continue;
        }
        match closing_quote(&bytes[..bytes.len().min(QUOTED_BYTES_MAX)], at + 1, quote) {
            Some(close) => match bytes.get(close + 1..).unwrap_or_default() {
                [next, ..] if *next == delimiter => at = close + 2,
                [next, ..] if *next == line_end => return Some(ended(bytes, close + 2, line_end)),
                [b'\r', next, ..] if *next == line_end => return Some(ended(bytes, close + 3, line_end)),
                [] | [b'\r'] if complete => return Some(ended(bytes, bytes.len(), line_end)),
                [] | [b'\r'] => return None,
                _ => return broken(bytes, complete, line_end),
            },
            None if !complete && bytes.len() < QUOTED_BYTES_MAX => return None,
            None => return broken(bytes, complete, line_end),
        }
    }
}

/// The quote that ends a field; two in a row stand for one within it. A last byte could be either, which the caller
/// finds out by what follows.
fn closing_quote(bytes: &[u8], from: usize, quote: u8) -> Option<usize> {
    let mut at = from;
    loop {
        let found = at + bytes.get(at..)?.iter().position(|byte| *byte == quote)?;
        if bytes.get(found + 1) != Some(&quote) {
            return Some(found);
        }
        at = found + 2;
    }
}

fn ended(bytes: &[u8], length: usize, line_end: u8) -> Frame {
    let row = &bytes[..length];
    let lines = row.split(|byte| *byte == line_end).skip(1).map(|_| 1).sum();
    Frame { content: content(row, line_end), length, lines, broken: None }
}

/// Bytes of a row without its line end.
fn content(row: &[u8], line_end: u8) -> usize {
    let content = row.strip_suffix(&[line_end]).unwrap_or(row);
    content.strip_suffix(b"\r").unwrap_or(content).len()
}

/// Text after a closing quote, or no closing quote at all: told alike, because which of them is seen can depend on
/// where the file was cut.
fn broken(bytes: &[u8], complete: bool, line_end: u8) -> Option<Frame> {
    line(bytes, complete, line_end).map(|frame| Frame { broken: Some("quotes are not in order"), ..frame })
}

/// Frames of bytes that hold whole rows only.
pub fn frames(bytes: &[u8], framing: Framing) -> impl Iterator<Item = (usize, Frame)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let frame = framing.first(&bytes[at..], true)?;
        let start = at;
        at += frame.length;
        Some((start, frame))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<(&str, Option<&'static str>)> {
        rows_of(text, Dialect::default())
    }

    fn rows_of(text: &str, dialect: Dialect) -> Vec<(&str, Option<&'static str>)> {
        frames(text.as_bytes(), Framing::Csv(dialect))
            .map(|(at, frame)| (&text[at..at + frame.content], frame.broken))
            .collect()
    }

    #[test]
    fn quoted_line_ends_belong_to_their_row() {
        assert_eq!(rows("a,b\r\n\"x\ny\",2\n3,4"), [("a,b", None), ("\"x\ny\",2", None), ("3,4", None)]);
        assert_eq!(rows("\"say \"\"hi\"\"\",1\n"), [("\"say \"\"hi\"\"\",1", None)]);
    }

    #[test]
    fn a_stray_quote_costs_one_row() {
        let why = Some("quotes are not in order");
        assert_eq!(rows("1,\"x\n2,y\n3,z\n"), [("1,\"x", why), ("2,y", None), ("3,z", None)]);
        assert_eq!(rows("1,\"x\"y\n2,z\n"), [("1,\"x\"y", why), ("2,z", None)]);
        // A quote inside an unquoted field is text.
        assert_eq!(rows("5\" pipe,1\n"), [("5\" pipe,1", None)]);
    }

    #[test]
    fn a_frame_waits_for_the_bytes_it_needs() {
        let csv = Framing::Csv(Dialect::default());
        assert_eq!(csv.first(b"1,\"x\ny", false), None);
        assert_eq!(csv.first(b"1,2", false), None);
        assert_eq!(csv.first(b"1,\"2\"", false), None);
        assert_eq!(csv.first(b"", true), None);
        assert_eq!(Framing::Lines.first(b"{}", true).unwrap().content, 2);
    }

    #[test]
    fn rows_may_end_with_carriage_returns_alone() {
        let old = Dialect { delimiter: b';', quote: b'\'', line_end: b'\r' };
        assert_eq!(rows_of("a;b\r'x\ry';\"2\r", old), [("a;b", None), ("'x\ry';\"2", None)]);
    }
}
