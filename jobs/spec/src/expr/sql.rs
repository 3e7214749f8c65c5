//! DuckDB expressions over one row: which columns they read, and how they stand in a statement.
//!
//! What a function is and whether it repeats itself is DuckDB's to say, and said when `offline` prepares the
//! expression. Here it is only taken apart, so that a column may be named like a word of SQL (`at`, `order`) and
//! nothing can end the parentheses that it is put into.

use std::ops::{ControlFlow, Range};

use sqlparser::{
    ast::{
        Expr, Function, FunctionArguments, Ident, ObjectName, ObjectNamePart, Query, UnaryOperator,
        Visit as _, Visitor,
    },
    dialect::DuckDbDialect,
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::{Token, TokenWithSpan, Tokenizer, Whitespace},
};

use super::limits;

/// The text is not one expression over one row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidSql {
    /// What is wrong.
    pub message: String,
    /// Where, in characters from 0, if known.
    pub offset: Option<usize>,
}

/// One expression over one row, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    text: String,
    columns: Vec<String>,
    moments: Vec<String>,
    // Of columns that stand without quotes, in bytes of the text, in their order.
    bare: Vec<Range<usize>>,
}

impl Expression {
    /// Takes an expression apart.
    ///
    /// # Errors
    /// It is not a single scalar expression: a query, a comment, a parameter, or a syntax error.
    pub fn parse(text: &str) -> Result<Self, InvalidSql> {
        if text.trim().is_empty() {
            return Err(InvalidSql { message: "it is empty".to_owned(), offset: None });
        }
        limits::SQL.check(text).map_err(|(message, offset)| InvalidSql { message, offset: Some(offset) })?;
        let dialect = DuckDbDialect {};
        let tokens = Tokenizer::new(&dialect, text).tokenize_with_location();
        let tokens = tokens.map_err(|error| syntax_error(text, &error.to_string()))?;
        let misplaced = tokens.iter().find_map(|token| Some((misplaced(&token.token)?, token)));
        if let Some((message, TokenWithSpan { span, .. })) = misplaced.or_else(|| too_nested(&tokens)) {
            return Err(InvalidSql { message, offset: offset(text, span.start.line, span.start.column) });
        }
        let invalid = |error: ParserError| match error {
            ParserError::RecursionLimitExceeded => InvalidSql {
                message: format!("it is nested more than {DEPTH_MAX} levels deep"),
                offset: None,
            },
            other => syntax_error(text, &other.to_string()),
        };
        let parser = Parser::new(&dialect).with_recursion_limit(DEPTH_MAX);
        let mut parser = parser.with_tokens_with_locations(tokens);
        let parsed = parser.parse_expr().map_err(invalid)?;
        let rest = parser.peek_token();
        if rest.token != Token::EOF {
            let message = format!("unexpected `{}` after the expression", rest.token);
            return Err(InvalidSql {
                message,
                offset: offset(text, rest.span.start.line, rest.span.start.column),
            });
        }
        let mut found =
            Self { text: text.to_owned(), columns: Vec::new(), moments: Vec::new(), bare: Vec::new() };
        if let ControlFlow::Break(message) = parsed.visit(&mut Columns { of: &mut found }) {
            return Err(InvalidSql { message, offset: None });
        }
        found.bare.sort_by_key(|range| range.start);
        found.bare.dedup();
        Ok(found)
    }

    /// The columns that it reads, each once, in the order of their first use; lower case as DuckDB compares them,
    /// `a.b` where one is qualified.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Those of [`columns`](Self::columns) that SQL reads as the moment of asking where there is no such column:
    /// `current_date` and its like.
    pub fn moments(&self) -> &[String] {
        &self.moments
    }

    /// As it stands in a statement: in parentheses, its columns quoted.
    pub fn compiled(&self) -> String {
        let mut sql = String::from("(");
        let mut from = 0;
        for Range { start, end } in &self.bare {
            sql.extend([&self.text[from..*start], "\"", &self.text[*start..*end], "\""]);
            from = *end;
        }
        sql.push_str(&self.text[from..]);
        sql.push(')');
        sql
    }

    /// Where a byte of [`compiled`](Self::compiled) stands in the text, in characters from 0.
    pub fn offset_of(&self, compiled: usize) -> usize {
        let inside = compiled.saturating_sub(1);
        let byte = self.bare.iter().enumerate().fold(inside, |byte, (index, range)| {
            // Each quoted column before it has brought two quotes, the one it is within brings one.
            let start = range.start + 2 * index;
            let end = range.end + 2 * index + 1;
            if inside > end {
                byte - 2
            } else if inside > start {
                byte - 1
            } else {
                byte
            }
        });
        let byte = byte.min(self.text.len());
        self.text.char_indices().take_while(|(at, _)| *at < byte).count()
    }

    fn add(&mut self, name: &str) {
        let name = name.to_lowercase();
        if !self.columns.contains(&name) {
            self.columns.push(name);
        }
    }

    /// Notes where a column stands bare, to be quoted.
    fn quote(&mut self, name: &Ident) {
        let (start, end) = (name.span.start, name.span.end);
        let byte = |line, column| Some(byte_of(&self.text, offset(&self.text, line, column)?));
        let range = byte(start.line, start.column).zip(byte(end.line, end.column));
        if let (None, Some((start, end))) = (name.quote_style, range)
            && self.text.get(start..end).is_some_and(|found| found == name.value)
        {
            self.bare.push(start..end);
        }
    }
}

/// The columns that an expression reads, see [`Expression::columns`].
///
/// # Errors
/// It is not a single scalar expression.
pub fn columns(expression: &str) -> Result<Vec<String>, InvalidSql> {
    Ok(Expression::parse(expression)?.columns)
}

/// An expression as it stands in a statement. One that can't be taken apart was declared before this release; what
/// is wrong with it DuckDB says.
pub fn compiled(expression: &str) -> String {
    Expression::parse(expression)
        .map_or_else(|_| format!("({expression}\n)"), |expression| expression.compiled())
}

/// A name as DuckDB reads it, whatever it holds.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What has no place in an expression that is put into a statement.
fn misplaced(token: &Token) -> Option<String> {
    match token {
        Token::Whitespace(Whitespace::SingleLineComment { .. } | Whitespace::MultiLineComment(_)) => {
            Some("a comment has no place in it; write it outside, after a `#`".to_owned())
        }
        Token::Placeholder(name) => Some(format!("`{name}` is a parameter, and nothing gives it a value")),
        Token::SemiColon => Some("`;` ends a statement, and this is an expression".to_owned()),
        _ => None,
    }
}

/// Levels of the parser, which takes some for a bracket: one for itself and one for each operator around it that binds
/// tighter than the last.
const DEPTH_MAX: usize = 200;
/// Calls and `CASE` within each other. Where something is wrong within one, the parser reads it a second time as another
/// form, at each level: twice the work for each, 0.1 s for these.
const NESTED_MAX: usize = 12;

/// The call or `CASE` that is one too many within others.
fn too_nested(tokens: &[TokenWithSpan]) -> Option<(String, &TokenWithSpan)> {
    // What is open: whether it is a call or `CASE`, and not a bracket by itself.
    let mut open = Vec::new();
    let mut after_word = false;
    for token in tokens {
        let within_word = std::mem::take(&mut after_word);
        match &token.token {
            Token::Whitespace(_) => after_word = within_word,
            Token::Word(word) if word.keyword == Keyword::CASE => open.push(true),
            Token::Word(word) => {
                after_word = !matches!(word.keyword, Keyword::AND | Keyword::OR);
                if word.keyword == Keyword::END {
                    open.pop();
                }
            }
            Token::LParen | Token::LBracket => open.push(within_word),
            Token::RParen | Token::RBracket => drop(open.pop()),
            _ => {}
        }
        if open.iter().filter(|nested| **nested).count() > NESTED_MAX {
            return Some((format!("more than {NESTED_MAX} calls and `CASE` within each other"), token));
        }
    }
    None
}

/// Finds the columns of an expression.
struct Columns<'e> {
    of: &'e mut Expression,
}

impl Visitor for Columns<'_> {
    type Break = String;

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<String> {
        ControlFlow::Break("a query has no place here".to_owned())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<String> {
        match expr {
            Expr::Identifier(name) => {
                self.of.add(&name.value);
                self.of.quote(name);
            }
            Expr::CompoundIdentifier(names) => {
                let joined: Vec<&str> = names.iter().map(|name| name.value.as_str()).collect();
                self.of.add(&joined.join("."));
                for name in names {
                    self.of.quote(name);
                }
            }
            // `current_date`: a word without parentheses is a column where there is one of that name.
            Expr::Function(function) if matches!(function.args, FunctionArguments::None) => {
                if let Some(name) = only_part(&function.name) {
                    self.of.add(&name.value);
                    self.of.moments.push(name.value.to_lowercase());
                    self.of.quote(name);
                }
            }
            // `not + 1` is the negation of `+1`, whatever columns there are.
            Expr::UnaryOp { op: UnaryOperator::Not, expr }
                if matches!(**expr, Expr::UnaryOp { op: UnaryOperator::Plus | UnaryOperator::Minus, .. }) =>
            {
                return ControlFlow::Break(
                    "`not` negates a condition; write a column of that name in quotes".to_owned(),
                );
            }
            Expr::Function(Function { name, over: Some(_), .. }) => {
                return ControlFlow::Break(format!("`{name}` needs many rows"));
            }
            // `f(all - 1)` is `f` of all `-1`, whatever columns there are.
            Expr::Function(Function { args: FunctionArguments::List(list), .. })
                if let Some(word) = list.duplicate_treatment =>
            {
                let word = word.to_string().to_lowercase();
                return ControlFlow::Break(format!(
                    "`{word}` before an argument is for aggregates; write a column of that name in quotes"
                ));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn only_part(name: &ObjectName) -> Option<&Ident> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(name)] => Some(name),
        _ => None,
    }
}

/// The parser's message without its own words for the place.
fn syntax_error(expression: &str, error: &str) -> InvalidSql {
    let message = error.trim_start_matches("sql parser error: ");
    let (message, place) = message.split_once(" at Line: ").unwrap_or((message, ""));
    let mut numbers = place.split(", Column: ").map(str::trim).filter_map(|number| number.parse().ok());
    let offset =
        numbers.next().zip(numbers.next()).and_then(|(line, column)| offset(expression, line, column));
    let mut message =
        message.trim_end_matches(',').replace("found: EOF", "but it ends there").replace("found: ", "found ");
    if let Some(first) = message.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    InvalidSql { message, offset }
}

/// Characters before a place; lines and columns count from 1.
fn offset(expression: &str, line: u64, column: u64) -> Option<usize> {
    let line = usize::try_from(line).ok()?.checked_sub(1)?;
    let column = usize::try_from(column).ok()?.checked_sub(1)?;
    let before: usize = expression.split('\n').take(line).map(|line| line.chars().count() + 1).sum();
    Some(before + column)
}

/// The byte at which a character stands; the end where there are fewer.
fn byte_of(text: &str, character: usize) -> usize {
    text.char_indices().nth(character).map_or(text.len(), |(byte, _)| byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_once_in_the_order_of_use() {
        for (expression, expected) in [
            ("arr_delay > 15", vec!["arr_delay"]),
            ("scheduled_at - INTERVAL 2 HOUR", vec!["scheduled_at"]),
            ("isodow(date)", vec!["date"]),
            ("dep_delay_2h * wind_speed + DEP_DELAY_2H", vec!["dep_delay_2h", "wind_speed"]),
            ("CASE WHEN a IS NULL THEN 0 ELSE b::DOUBLE END", vec!["a", "b"]),
            ("coalesce(a, 'x') || \"b\"", vec!["a", "b"]),
            ("extract(hour FROM t AT TIME ZONE 'America/New_York')", vec!["t"]),
            ("date_diff('minute', a, b)", vec!["a", "b"]),
            ("x IN (1, 2)", vec!["x"]),
            ("1 + 1", vec![]),
            ("v.a", vec!["v.a"]),
        ] {
            assert_eq!(columns(expression).unwrap(), expected, "{expression}");
        }
    }

    #[test]
    fn what_is_not_an_expression_over_one_row_is_refused() {
        for expression in [
            "",
            "a +",
            "a b",
            "SELECT 1",
            "(SELECT 1)",
            "sum(a) OVER ()",
            "a; DROP TABLE x",
            "a -- net",
            "a /* net */ + 1",
            "a) + (b",
            "abs(all - 1)",
            "abs(distinct a)",
            "(a",
            "a + ?",
            "a + $1",
        ] {
            assert!(columns(expression).is_err(), "{expression}");
        }
    }

    #[test]
    fn columns_are_quoted_where_they_stand_and_nothing_else_is() {
        for (expression, expected) in [
            ("at > TIMESTAMP '2020-01-01'", r#"("at" > TIMESTAMP '2020-01-01')"#),
            ("order || 'order'", r#"("order" || 'order')"#),
            ("ORDER", r#"("ORDER")"#),
            ("at - INTERVAL 1 HOUR", r#"("at" - INTERVAL 1 HOUR)"#),
            ("extract(hour FROM at)", r#"(extract(hour FROM "at"))"#),
            ("é + \"b\" + é", r#"("é" + "b" + "é")"#),
            ("CASE WHEN a\nTHEN desc ELSE v.a END", "(CASE WHEN \"a\"\nTHEN \"desc\" ELSE \"v\".\"a\" END)"),
            ("struct_pack(a := b)", r#"(struct_pack(a := "b"))"#),
            ("current_date", r#"("current_date")"#),
        ] {
            assert_eq!(Expression::parse(expression).unwrap().compiled(), expected, "{expression}");
        }
    }

    #[test]
    fn a_place_in_the_statement_is_a_place_in_the_text() {
        let expression = Expression::parse("a + é * foo(b)").unwrap();
        let compiled = expression.compiled();
        for (word, expected) in [("a", 0), ("é", 4), ("foo", 8), ("b", 12)] {
            assert_eq!(expression.offset_of(compiled.find(word).unwrap()), expected, "{word} in {compiled}");
        }
        assert_eq!(expression.offset_of(compiled.len()), 14);
    }

    #[test]
    fn a_syntax_error_has_its_place() {
        let error = columns("a + * b").unwrap_err();
        assert_eq!(error.offset, Some(4), "{error}");
    }
}
