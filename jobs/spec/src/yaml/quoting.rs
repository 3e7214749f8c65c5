//! The trap of `${{ }}`: its braces are YAML's own inside a flow map, `: ` and ` #` end a plain scalar anywhere. The same
//! trap of `float[64]` and `decimal(12,2)`: in a flow map, brackets and commas are YAML's own.
//!
//! YAML would read such a line as something else, or blame another place; so the text is scanned first. What is
//! found is reported and blotted out, so that the rest of the file can still be checked.

use super::Span;
use crate::diagnostic::Report;

/// Stands for an expression that was blotted out; fields that hold it are not checked further.
pub(crate) const BLOT: char = '\u{E000}';

/// The text with every unquoted `${{ }}` or type that YAML would misread replaced by [`BLOT`]s of the same length.
pub(super) fn repair(file: &str, text: &str, report: &Report) -> String {
    let mut open = Scan::default();
    let mut repaired = String::with_capacity(text.len());
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let mut chars: Vec<char> = line.chars().collect();
        for (start, length) in open.line(&chars) {
            let text: String = chars[start..start + length].iter().collect();
            let (what, quoted) =
                if text.starts_with('$') { ("${{ }}", "${{ … }}") } else { (text.as_str(), text.as_str()) };
            let span = Span { line: index + 1, column: start + 1, length };
            report
                .error(205, format!("`{what}` must be quoted here"))
                .at(file, span, "YAML takes this for something else")
                .help(format!("quote it or use block style: \"{quoted}\""));
            chars[start..start + length].fill(BLOT);
        }
        repaired.extend(chars);
    }
    repaired
}

/// What is open at the end of a line.
#[derive(Default)]
struct Scan {
    /// Open flow maps and lists.
    depth: usize,
    /// The quote that a scalar was begun with.
    quote: Option<char>,
    /// Indentation of the line that began a block scalar (`|` or `>`).
    block: Option<usize>,
}

impl Scan {
    /// The misread expressions of one line: start and length in characters.
    fn line(&mut self, chars: &[char]) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        let indent = chars.iter().take_while(|c| **c == ' ').count();
        let blank = chars.iter().all(|c| c.is_whitespace());
        if let Some(parent) = self.block {
            if blank || indent > parent {
                return found;
            }
            self.block = None;
        }
        let mut at = 0;
        while at < chars.len() {
            at = self.token(chars, at, &mut found);
        }
        if self.quote.is_none() && self.depth == 0 && opens_block(chars) {
            self.block = Some(indent);
        }
        found
    }

    /// Reads on from `at`, and returns where it stopped.
    fn token(&mut self, chars: &[char], at: usize, found: &mut Vec<(usize, usize)>) -> usize {
        let c = chars[at];
        if let Some(quote) = self.quote {
            if c == '\\' && quote == '"' {
                return at + 2;
            }
            if c == quote {
                self.quote = None;
            }
            return at + 1;
        }
        let before = chars[..at].iter().rev().find(|c| !c.is_whitespace());
        if self.depth > 0
            && before == Some(&':')
            && let Some(end) = end_of_type(chars, at)
        {
            found.push((at, end - at));
            return end;
        }
        match c {
            '"' | '\'' if before.is_none_or(|c| matches!(c, ':' | ',' | '[' | '{' | '-' | '?')) => {
                self.quote = Some(c);
            }
            '#' if at == 0 || chars[at - 1].is_whitespace() => return chars.len(),
            '{' | '[' => self.depth += 1,
            '}' | ']' => self.depth = self.depth.saturating_sub(1),
            '$' if chars[at..].starts_with(&['$', '{', '{']) => {
                let end = end_of_expression(chars, at);
                let inside: String = chars[at..end].iter().collect();
                if self.depth > 0 || inside.contains(": ") || inside.contains(" #") {
                    found.push((at, end - at));
                }
                return end;
            }
            _ => {}
        }
        at + 1
    }
}

fn end_of_expression(chars: &[char], start: usize) -> usize {
    (start..chars.len().saturating_sub(1)).find(|at| chars[*at] == '}' && chars[at + 1] == '}').map_or_else(
        || chars.iter().rposition(|c| !c.is_whitespace()).map_or(chars.len(), |last| last + 1),
        |at| at + 2,
    )
}

/// Where a type ends that begins here and has brackets or a comma: `float[64]`, `string[]`, `decimal(12,2)`.
fn end_of_type(chars: &[char], start: usize) -> Option<usize> {
    let run =
        |from: usize, of: &dyn Fn(char) -> bool| from + chars[from..].iter().take_while(|c| of(**c)).count();
    let word = run(start, &|c| c.is_ascii_lowercase());
    let mut end = word;
    if chars[start..].starts_with(&['d', 'e', 'c', 'i', 'm', 'a', 'l', '(']) {
        end = run(end + 1, &|c| c.is_ascii_digit() || matches!(c, ',' | ' '));
        end = (chars.get(end) == Some(&')')).then_some(end + 1)?;
    }
    while chars.get(end) == Some(&'[') {
        end = run(end + 1, &|c| c.is_ascii_digit());
        end = (chars.get(end) == Some(&']')).then_some(end + 1)?;
    }
    (word > start && end > word).then_some(end)
}

/// Whether the line ends in `key: |` or `- >-` and the like.
fn opens_block(chars: &[char]) -> bool {
    let line: String = chars.iter().collect();
    let line = line.split(" #").next().unwrap_or_default().trim_end();
    let Some((before, last)) = line.rsplit_once(' ') else { return false };
    matches!(before.trim_end().chars().last(), Some(':' | '-'))
        && last.starts_with(['|', '>'])
        && last[1..].chars().all(|c| matches!(c, '+' | '-' | '0'..='9'))
}
