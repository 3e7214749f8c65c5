//! Files that people bring, read by DuckDB: what it can't read of them is the file's fault, not ours.

use std::{
    ffi::OsStr,
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
};

use tidemill_core::Fault;

use crate::{
    Error,
    duck::{Duck, Failure, Session},
    error::words,
};

/// Levels of a JSON value. DuckDB makes a type of each, on the stack.
const DEPTH_MAX: usize = 64;

/// How a file is written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Format {
    Parquet,
    Csv,
    Json,
}

impl Format {
    /// As people call it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Parquet => "Parquet",
            Self::Csv => "CSV",
            Self::Json => "JSON lines",
        }
    }
}

/// By the end of its name.
pub(crate) fn format_of(path: &Path) -> Result<Format, Error> {
    match path.extension().and_then(OsStr::to_str) {
        Some("parquet" | "pq") => Ok(Format::Parquet),
        Some("csv") => Ok(Format::Csv),
        Some("jsonl" | "ndjson" | "json") => Ok(Format::Json),
        _ => {
            let message = format!("`{}` is neither .parquet, .csv nor .jsonl", path.display());
            Err(Error::invalid(608, message))
        }
    }
}

/// Runs `work`, which reads `path`, a Parquet, CSV or JSON lines file.
///
/// # Errors
/// [`Error::Invalid`] where the file is not what its name says.
pub(crate) async fn read<T: Send + 'static>(
    duck: &Duck,
    path: &Path,
    work: impl FnOnce(&Session) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Error> {
    let (format, owned) = (format_of(path)?, path.to_path_buf());
    let read = duck.run(format!("reading {}", path.display()), move |session| {
        if matches!(format, Format::Json) {
            shallow(&owned)?;
        }
        work(session)
    });
    read.await.map_err(|error| match error {
        Error::Query { source, .. } if is_files_fault(&source) => unreadable(format, path, &words(&source)),
        Error::Interrupted(ended) if ended.is_panic() => unreadable(format, path, "its content is not valid"),
        other => other,
    })
}

/// Whether DuckDB refused what it read, rather than failed at it.
fn is_files_fault(error: &duckdb::Error) -> bool {
    let text = error.to_string();
    !["Out of Memory", "INTERRUPT", "Cannot open file", "FATAL Error", "INTERNAL Error"]
        .iter()
        .any(|kind| text.contains(kind))
}

/// DuckDB's words name the file by where we put it; a person knows it by its format.
fn unreadable(format: Format, path: &Path, words: &str) -> Error {
    let (kind, path) = (format.as_str(), path.to_string_lossy());
    // What follows is advice on options of DuckDB's, which nobody can set here.
    let words = words.split("Possible fixes").next().unwrap_or_default().trim();
    let why = words.replace(&format!("'{path}'"), "the file").replace(&format!("\"{path}\""), "the file");
    let message = format!("the file can't be read as {kind}: {}", why.replace(path.as_ref(), "the file"));
    Error::Invalid(Fault::coded(503, message).hint("name it by its format: .parquet, .csv or .jsonl"))
}

/// Refuses JSON that is nested too deep, by its line.
fn shallow(path: &Path) -> Result<(), Error> {
    let failed = |error| Error::invalid(503, format!("the file can't be read: {error}"));
    let mut file = BufReader::with_capacity(1 << 16, File::open(path).map_err(failed)?);
    // A line stands for itself where rows are lines, and is a part of the whole where the file is one value. What is
    // shallow in both ways is shallow however it is read.
    let (mut line, mut of_line, mut of_file) = (1_u64, Depth::default(), Depth::default());
    loop {
        let bytes = file.fill_buf().map_err(failed)?;
        if bytes.is_empty() {
            return Ok(());
        }
        for &byte in bytes {
            of_line.see(byte);
            of_file.see(byte);
            if of_line.level.max(of_file.level) > DEPTH_MAX {
                let message = format!("line {line}: a value is nested more than {DEPTH_MAX} levels deep");
                return Err(Error::Invalid(
                    Fault::coded(503, message).hint("flatten it, or keep it as text"),
                ));
            }
            if byte == b'\n' {
                (line, of_line) = (line + 1, Depth::default());
            }
        }
        let seen = bytes.len();
        file.consume(seen);
    }
}

/// How many arrays and objects are open.
#[derive(Default)]
struct Depth {
    level: usize,
    within_text: bool,
    escaped: bool,
}

impl Depth {
    fn see(&mut self, byte: u8) {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' => self.escaped = self.within_text,
            b'"' => self.within_text = !self.within_text,
            b'{' | b'[' if !self.within_text => self.level += 1,
            b'}' | b']' if !self.within_text => self.level = self.level.saturating_sub(1),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(text: &str) -> Result<(), String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        shallow(file.path()).map_err(|error| error.fault().message)
    }

    #[test]
    fn a_value_that_is_nested_too_deep_is_refused_by_its_line() {
        let deep = |levels: usize| format!("{{\"a\": {}{}}}\n", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(judged(&deep(60).repeat(3)), Ok(()));
        let texts = "{\"a\": \"[[[[\\\"[[[[\"}\n".repeat(100);
        assert_eq!(judged(&texts), Ok(()));
        let error = judged(&format!("{}{}", deep(1), deep(2_000))).unwrap_err();
        assert_eq!(error, "line 2: a value is nested more than 64 levels deep");
        // A quote that isn't closed hides nothing from the next line.
        assert!(judged(&format!("\"\n{}", deep(2_000))).is_err());
        assert!(judged(&"[\n".repeat(2_000)).is_err());
    }
}
