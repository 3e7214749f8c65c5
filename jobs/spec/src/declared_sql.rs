//! SQL as it was declared, with its place: what only DuckDB can judge is judged later, by `offline`, and shown here.

use indexmap::IndexMap;

use crate::{
    Diagnostic, Severity, Type,
    diagnostic::{Place, SourceFile},
    yaml::{Data, Span, fields::At},
};

/// One SQL text of the project.
#[derive(Clone, Debug, PartialEq)]
pub struct DeclaredSql {
    /// As declared.
    pub text: String,
    /// What it has to be.
    pub role: SqlRole,
    file: String,
    path: String,
    span: Span,
}

/// What a declared SQL text has to be.
#[derive(Clone, Debug, PartialEq)]
pub enum SqlRole {
    /// A value of one row.
    Expression {
        /// The row's columns.
        columns: IndexMap<String, Type>,
        /// The type that the value is cast to.
        ty: Type,
        /// Whether it must come to the same whenever it is computed again.
        repeatable: bool,
    },
    /// A query over the lake's tables.
    Query,
}

impl DeclaredSql {
    pub(crate) fn new(at: &At<'_>, text: &str, role: SqlRole) -> Self {
        let span = match &at.node.data {
            // The quotes are no part of the text.
            Data::Scalar { plain: false, text } if at.node.span.length == text.chars().count() + 2 => {
                Span { column: at.node.span.column + 1, length: at.node.span.length - 2, ..at.node.span }
            }
            _ => at.node.span,
        };
        Self { text: text.to_owned(), role, file: at.file.to_owned(), path: at.path.clone(), span }
    }

    /// A mistake in it, at a character of the text; `None`: the whole of it is wrong.
    pub fn mistake(
        &self,
        code: u16,
        message: String,
        help: Option<String>,
        at: Option<usize>,
        files: &[SourceFile],
    ) -> Diagnostic {
        Diagnostic {
            code: tidemill_core::Code(code),
            severity: Severity::Error,
            message,
            labels: vec![self.place(at, files)],
            help,
            path: self.path.clone(),
            leak: None,
        }
    }

    /// The line of the file that holds a character of the text: it may be one of many, and be folded.
    fn place(&self, at: Option<usize>, files: &[SourceFile]) -> Place {
        let whole = Place::new(&self.file, self.span, "");
        let Some(at) = at else { return whole };
        let before: String = self.text.chars().take(at).collect();
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count());
        let line = self.text.split('\n').nth(before.matches('\n').count()).unwrap_or_default();
        let indent = line.chars().take_while(|c| c.is_whitespace()).count();
        let file = files.iter().find(|file| file.path == self.file);
        let lines = file.into_iter().flat_map(|file| file.text.lines().enumerate().skip(self.span.line - 1));
        for (number, found) in lines.filter(|_| !line.trim().is_empty()) {
            // Of the first line what stands before the value is its key.
            let from = if number + 1 == self.span.line { self.span.column - 1 } else { 0 };
            let from = found.char_indices().nth(from).map_or(found.len(), |(byte, _)| byte);
            if let Some(byte) = found[from..].find(line.trim()) {
                let begins = found[..from + byte].chars().count();
                let span = Span {
                    line: number + 1,
                    column: begins + (column + 1).saturating_sub(indent).max(1),
                    length: 1,
                };
                return Place::new(&self.file, span, "");
            }
        }
        whole
    }
}
