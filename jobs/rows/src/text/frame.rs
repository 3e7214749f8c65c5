//! Where the rows of a text file begin and end.
//!
//! The planner cuts a file with this and the chunk's job splits its part with it again. Both must see the same rows
//! wherever a cut fell, so a frame depends on nothing before its first byte, and what follows it can only be missed
//! in ways that a cut at a row's end can't bring about.

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

/// Finds the first frame of `bytes`; none when more bytes are needed, which never happens when they are `complete`
/// and not empty.
pub type Framing = fn(bytes: &[u8], complete: bool) -> Option<Frame>;

/// A line is a row.
pub fn line(bytes: &[u8], complete: bool) -> Option<Frame> {
    let length = match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => end + 1,
        None if complete && !bytes.is_empty() => bytes.len(),
        None => return None,
    };
    let row = &bytes[..length];
    let content = row.strip_suffix(b"\n").unwrap_or(row);
    let content = content.strip_suffix(b"\r").unwrap_or(content).len();
    Some(Frame { content, length, lines: u64::from(row.ends_with(b"\n")), broken: None })
}

/// A row of comma-separated fields, of which quoted ones may hold line ends. With a fault in its quotes, the row is
/// its first line alone.
pub fn csv(bytes: &[u8], complete: bool) -> Option<Frame> {
    let mut at = 0;
    loop {
        if bytes.get(at) != Some(&b'"') {
            // To the next field, or the end of the row.
            match bytes[at..].iter().position(|byte| matches!(byte, b',' | b'\n')) {
                Some(end) if bytes[at + end] == b',' => at += end + 1,
                Some(end) => return Some(ended(bytes, at + end + 1)),
                None if complete && !bytes.is_empty() => return Some(ended(bytes, bytes.len())),
                None => return None,
            }
            continue;
        }
        match closing_quote(&bytes[..bytes.len().min(QUOTED_BYTES_MAX)], at + 1) {
            Some(close) => match bytes.get(close + 1..).unwrap_or_default() {
                [b',', ..] => at = close + 2,
                [b'\n', ..] => return Some(ended(bytes, close + 2)),
                [b'\r', b'\n', ..] => return Some(ended(bytes, close + 3)),
                [] | [b'\r'] if complete => return Some(ended(bytes, bytes.len())),
                [] | [b'\r'] => return None,
                _ => return broken(bytes, complete),
            },
            None if !complete && bytes.len() < QUOTED_BYTES_MAX => return None,
            None => return broken(bytes, complete),
        }
    }
}

/// The quote that ends a field; two in a row stand for one within it. A last byte could be either, which the caller
/// finds out by what follows.
fn closing_quote(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        let quote = at + bytes.get(at..)?.iter().position(|byte| *byte == b'"')?;
        if bytes.get(quote + 1) != Some(&b'"') {
            return Some(quote);
        }
        at = quote + 2;
    }
}

fn ended(bytes: &[u8], length: usize) -> Frame {
    let row = &bytes[..length];
    let lines = row.split(|byte| *byte == b'\n').skip(1).map(|_| 1).sum();
    let content = row.strip_suffix(b"\n").unwrap_or(row);
    let content = content.strip_suffix(b"\r").unwrap_or(content).len();
    Frame { content, length, lines, broken: None }
}

/// Text after a closing quote, or no closing quote at all: told alike, because which of them is seen can depend on
/// where the file was cut.
fn broken(bytes: &[u8], complete: bool) -> Option<Frame> {
    line(bytes, complete).map(|frame| Frame { broken: Some("quotes are not in order"), ..frame })
}

/// Frames of bytes that hold whole rows only.
pub fn frames(bytes: &[u8], framing: Framing) -> impl Iterator<Item = (usize, Frame)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let frame = framing(&bytes[at..], true)?;
        let start = at;
        at += frame.length;
        Some((start, frame))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<(&str, Option<&'static str>)> {
        frames(text.as_bytes(), csv)
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
        assert_eq!(csv(b"1,\"x\ny", false), None);
        assert_eq!(csv(b"1,2", false), None);
        assert_eq!(csv(b"1,\"2\"", false), None);
        assert_eq!(csv(b"", true), None);
        assert_eq!(line(b"{}", true).unwrap().content, 2);
    }
}
