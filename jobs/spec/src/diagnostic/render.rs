//! Diagnostics in the form that people read.
//!
//! ```text
//! error[TM0201]: unknown field `retrys` in step `train`
//!   ┌─ pipelines/train_daily.yaml:19:5
//! 19│     retrys: { max: 3 }
//!   │     ^^^^^^ did you mean `retry`?
//!   = path: steps.train.retrys     = more: tidemill explain TM0201
//! ```

use std::fmt::Write as _;

use super::{Diagnostic, Place, Severity, SourceFile};

/// All mistakes, with a frame each and an empty line between them; `colour` adds ANSI colours.
pub fn render(diagnostics: &[Diagnostic], files: &[SourceFile], colour: bool) -> String {
    diagnostics.iter().map(|diagnostic| one(diagnostic, files, Paint(colour))).collect::<Vec<_>>().join("\n")
}

fn one(diagnostic: &Diagnostic, files: &[SourceFile], paint: Paint) -> String {
    let (word, hue) = match diagnostic.severity {
        Severity::Error => ("error", RED),
        Severity::Warning => ("warning", YELLOW),
    };
    let head = paint.on(hue, &format!("{word}[{}]", diagnostic.code));
    let mut text = format!("{head}: {}\n", paint.on(BOLD, &diagnostic.message));
    for place in &diagnostic.labels {
        frame(&mut text, place, files, hue, paint);
    }
    if let Some(help) = &diagnostic.help {
        line(&mut text, &format!("  = fix: {help}"));
    }
    let more = format!("= more: tidemill explain {}", diagnostic.code);
    if diagnostic.path.is_empty() {
        line(&mut text, &paint.on(DIM, &format!("  {more}")));
    } else {
        line(&mut text, &paint.on(DIM, &format!("  = path: {}     {more}", diagnostic.path)));
    }
    text
}

fn frame(text: &mut String, place: &Place, files: &[SourceFile], hue: &str, paint: Paint) {
    let number = place.line.to_string();
    let width = number.len().max(2);
    let bar = |sign: &str| paint.on(DIM, &format!("{:width$}{sign}", ""));
    line(text, &format!("{} {}:{}:{}", bar("┌─"), place.file, place.line, place.column));
    let source = files
        .iter()
        .find(|file| file.path == place.file)
        .and_then(|file| file.text.lines().nth(place.line.saturating_sub(1)));
    let Some(source) = source else { return };
    let (source, column) = shorten(source, place.column);
    line(text, &format!("{}{source}", paint.on(DIM, &format!("{number:>width$}│"))));
    let left: String = source.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    let room = source.chars().count().saturating_sub(column - 1).max(1);
    let carets = paint.on(hue, "^".repeat(place.length.min(room)).as_str());
    line(text, format!("{}{left}{carets} {}", bar("│"), place.message).trim_end());
}

/// Long lines are cut around the place.
fn shorten(source: &str, column: usize) -> (String, usize) {
    const WIDTH: usize = 160;
    if source.chars().count() <= WIDTH {
        return (source.to_owned(), column.max(1));
    }
    let skip = column.saturating_sub(WIDTH / 2);
    let cut: String = source.chars().skip(skip).take(WIDTH).collect();
    (cut, column.saturating_sub(skip).max(1))
}

fn line(text: &mut String, content: &str) {
    let _ = writeln!(text, "{content}");
}

const RED: &str = "1;31";
const YELLOW: &str = "1;33";
const BOLD: &str = "1";
const DIM: &str = "2";

#[derive(Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn on(self, style: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
