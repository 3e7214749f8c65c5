//! Looks at a whole file once: its columns, and where it is cut into chunks.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use tidemill_catalog::{ChunkPlan, Format};
use tidemill_offline::upload::parquet_outline;
use tidemill_rows::text::{
    csv_fields,
    frame::{Dialect, Frame, Framing},
};
use tidemill_spec::{LineEnd, Source};

use crate::{
    Error, Limits,
    columns::{check_first_object, check_header},
    plain::encoding,
};

/// A file, as planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Its columns, in its order; empty for JSONL.
    pub(crate) header: Vec<String>,
    /// Its parts, in order; they cover every row once.
    pub(crate) chunks: Vec<ChunkPlan>,
}

/// What the rows of a text file are.
pub(crate) fn framing(format: Format, source: &Source) -> Framing {
    if format == Format::Csv { Framing::Csv(Dialect::from(&source.csv)) } else { Framing::Lines }
}

/// Plans the chunks of a plain file and checks its columns against the source's.
///
/// # Errors
/// When the file isn't of its format, or its columns aren't the source's.
pub(crate) fn plan(path: &Path, format: Format, source: &Source, limits: &Limits) -> Result<Plan, Error> {
    match format {
        Format::Parquet => plan_parquet(path, source, limits),
        Format::Csv | Format::Jsonl => plan_text(path, format, source, limits),
    }
}

fn plan_parquet(path: &Path, source: &Source, limits: &Limits) -> Result<Plan, Error> {
    let outline =
        parquet_outline(path).map_err(|reason| Error::Unreadable { format: Format::Parquet, reason })?;
    check_header(&outline.columns, source)?;
    let mut chunks: Vec<ChunkPlan> = Vec::new();
    let mut start = 0;
    for rows in outline.row_groups {
        // Small row groups are read together, large ones in parts.
        let mut left = rows;
        while left > 0 {
            let last = chunks.last_mut().filter(|chunk| chunk.end - chunk.start < limits.chunk_rows);
            let room = last
                .as_ref()
                .map_or(limits.chunk_rows, |chunk| limits.chunk_rows - (chunk.end - chunk.start));
            let taken = left.min(room);
            match last {
                Some(chunk) => chunk.end += taken,
                None => {
                    chunks.push(ChunkPlan { start, end: start + taken, rows_before: start, lines_before: 0 });
                }
            }
            start += taken;
            left -= taken;
        }
    }
    Ok(Plan { header: outline.columns, chunks })
}

fn plan_text(path: &Path, format: Format, source: &Source, limits: &Limits) -> Result<Plan, Error> {
    let csv = format == Format::Csv;
    let mut frames = FileFrames::open(path, framing(format, source))?;
    let mut header = Vec::new();
    let mut chunks = Vec::new();
    let mut open: Option<ChunkPlan> = None;
    let (mut rows, mut lines) = (0, 0);
    let mut first = true;
    while let Some((at, content, frame)) = frames.next()? {
        let empty = content.is_empty();
        if first {
            if empty {
                lines += frame.lines;
                continue;
            }
            first = false;
            if csv {
                header = csv_header(content, frame, source)?;
                check_header(&header, source)?;
                lines += frame.lines;
                continue;
            }
            check_first_object(content, source)?;
        }
        if csv && rows == 0 && content.starts_with(b"\n") {
            let reason = "its rows begin with line feeds: the file has other line ends".to_owned();
            return Err(Error::Unreadable { format, reason });
        }
        let chunk =
            open.get_or_insert(ChunkPlan { start: at, end: at, rows_before: rows, lines_before: lines });
        chunk.end = at + frame.length as u64;
        rows += u64::from(!empty);
        lines += frame.lines;
        if rows - chunk.rows_before >= limits.chunk_rows || chunk.end - chunk.start >= limits.chunk_bytes {
            chunks.extend(open.take());
        }
    }
    chunks.extend(open);
    if csv && header.is_empty() {
        return Err(Error::Unreadable {
            format: Format::Csv,
            reason: "the file is empty: it has no header".to_owned(),
        });
    }
    Ok(Plan { header, chunks })
}

fn csv_header(content: &[u8], frame: Frame, source: &Source) -> Result<Vec<String>, Error> {
    let unreadable =
        |reason: &str| Error::Unreadable { format: Format::Csv, reason: format!("its header {reason}") };
    if let Some(why) = frame.broken {
        return Err(unreadable(&format!("can't be split: {why}")));
    }
    let encoding = encoding(Format::Csv, source).as_str().to_uppercase();
    let text = std::str::from_utf8(content).map_err(|_| unreadable(&format!("is not {encoding}")))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let fields = csv_fields(text, Dialect::from(&source.csv));
    let names: Vec<String> =
        fields.into_iter().map(|name| name.unwrap_or_default().trim().to_owned()).collect();
    // With other line ends all rows would be header, and what they hold ignored.
    let runs_on = |name: &String| match source.csv.line_end {
        LineEnd::Lf => name.replace("\r\n", "").contains('\r'),
        LineEnd::Cr => name.contains('\n'),
    };
    if names.iter().any(runs_on) {
        return Err(unreadable("does not end where it should: the file has other line ends"));
    }
    Ok(names)
}

/// Where a frame begins in the file, its content, its extent.
type FileFrame<'a> = (u64, &'a [u8], Frame);

/// Frames of a file of any size, a window of it in memory.
struct FileFrames {
    file: File,
    framing: Framing,
    window: Vec<u8>,
    /// Where the next frame begins in the window.
    at: usize,
    /// Where the window begins in the file.
    offset: u64,
    complete: bool,
}

const WINDOW_BYTES: usize = 4 << 20;
/// Longer than any row that makes sense; without it a file without line ends would be read into memory whole.
const ROW_BYTES_MAX: usize = 32 << 20;

impl FileFrames {
    fn open(path: &Path, framing: Framing) -> io::Result<Self> {
        Ok(Self { file: File::open(path)?, framing, window: Vec::new(), at: 0, offset: 0, complete: false })
    }

    fn next(&mut self) -> Result<Option<FileFrame<'_>>, Error> {
        let frame = loop {
            match self.framing.first(&self.window[self.at..], self.complete) {
                Some(frame) => break frame,
                None if self.complete => return Ok(None),
                None => self.fill()?,
            }
        };
        let (start, at) = (self.at, self.offset + self.at as u64);
        self.at += frame.length;
        Ok(Some((at, &self.window[start..start + frame.content], frame)))
    }

    fn fill(&mut self) -> Result<(), Error> {
        if self.window.len() - self.at > ROW_BYTES_MAX {
            return Err(Error::LongRow { offset: self.offset + self.at as u64, max: ROW_BYTES_MAX });
        }
        self.window.drain(..self.at);
        self.offset += self.at as u64;
        self.at = 0;
        let more = (&self.file).take(WINDOW_BYTES as u64).read_to_end(&mut self.window)?;
        self.complete = more == 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
