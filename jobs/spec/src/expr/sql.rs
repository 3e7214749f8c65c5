//! DuckDB expressions over one row: which columns they read, and what they must not hold.

use std::{convert::Infallible, ops::ControlFlow};

use sqlparser::{
    ast::{Expr, Ident, ObjectName, ObjectNamePart, Query, Visit as _, Visitor},
    dialect::DuckDbDialect,
    parser::{Parser, ParserError},
    tokenizer::Token,
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

/// Aggregates of DuckDB that people reach for; a row has nothing to aggregate.
const AGGREGATES: [&str; 20] = [
    "any_value",
    "arg_max",
    "arg_min",
    "array_agg",
    "avg",
    "count",
    "first",
    "last",
    "list",
    "max",
    "mean",
    "median",
    "min",
    "mode",
    "quantile",
    "quantile_cont",
    "stddev",
    "string_agg",
    "sum",
    "variance",
];

/// What would give another answer the next time.
const UNREPEATABLE: [&str; 13] = [
    "current_date",
    "current_localtime",
    "current_localtimestamp",
    "current_time",
    "current_timestamp",
    "gen_random_uuid",
    "get_current_timestamp",
    "nextval",
    "now",
    "random",
    "today",
    "transaction_timestamp",
    "uuid",
];

/// A name as DuckDB reads it, whatever it holds.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The expression with its column names quoted, so that a name that is a word of DuckDB's (`at`, `limit`, `column`) is
/// one all the same. What is no expression is left as it is.
pub fn quote_columns(expression: &str) -> String {
    let Ok(parsed) = parse(expression) else { return expression.to_owned() };
    let mut found = Places::default();
    let ControlFlow::Continue(()) = parsed.visit(&mut found);
    let mut text: Vec<char> = expression.chars().collect();
    found.0.sort_by_key(|ident| std::cmp::Reverse(ident.span.start));
    for ident in &found.0 {
        let start = offset(expression, ident.span.start.line, ident.span.start.column);
        let name: Vec<char> = ident.value.chars().collect();
        // Only where the name stands as it was written; the parser knows no place of what it made up.
        if let Some(start) = start.filter(|start| text.get(*start..start + name.len()) == Some(&name)) {
            text.splice(start..start + name.len(), quote(&ident.value).chars());
        }
    }
    text.into_iter().collect()
}

/// Every column name that stands unquoted.
#[derive(Default)]
struct Places(Vec<Ident>);

impl Visitor for Places {
    type Break = Infallible;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Infallible> {
        let names = match expr {
            Expr::Identifier(name) => std::slice::from_ref(name),
            Expr::CompoundIdentifier(names) => names,
            _ => &[],
        };
        self.0.extend(names.iter().filter(|name| name.quote_style.is_none()).cloned());
        ControlFlow::Continue(())
    }
}

fn parse(expression: &str) -> Result<Expr, InvalidSql> {
    limits::SQL
        .check(expression)
        .map_err(|(message, offset)| InvalidSql { message, offset: Some(offset) })?;
    let dialect = DuckDbDialect {};
    let invalid = |error: ParserError| match error {
        ParserError::RecursionLimitExceeded => {
            InvalidSql { message: format!("it is nested more than {NESTED_MAX} levels deep"), offset: None }
        }
        other => syntax_error(expression, &other.to_string()),
    };
    let parser = Parser::new(&dialect).with_recursion_limit(NESTED_MAX);
    let mut parser = parser.try_with_sql(expression).map_err(invalid)?;
    let parsed = parser.parse_expr().map_err(invalid)?;
    let rest = parser.peek_token();
    if rest.token == Token::EOF {
        return Ok(parsed);
    }
    let message = format!("unexpected `{}` after the expression", rest.token);
    Err(InvalidSql { message, offset: offset(expression, rest.span.start.line, rest.span.start.column) })
}

/// The columns that an expression reads, each once, in the order of their first use; lower case as DuckDB
/// compares them, `a.b` where one is qualified.
///
/// # Errors
/// It is not a single scalar expression: a query, an aggregate, a value that changes from call to call, or a
/// syntax error.
pub fn columns(expression: &str) -> Result<Vec<String>, InvalidSql> {
    let parsed = parse(expression)?;
    let mut found = Columns::default();
    match parsed.visit(&mut found) {
        ControlFlow::Continue(()) => Ok(found.names),
        ControlFlow::Break(message) => Err(InvalidSql { message, offset: None }),
    }
}

/// Levels of brackets, calls and `CASE`. The parser takes twice the time for each level of some that are wrong: 0.1 s for
/// these.
const NESTED_MAX: usize = 16;
/// Levels of operators, which stand in a row in the text; DuckDB refuses a thousand.
const DEPTH_MAX: usize = 500;

#[derive(Default)]
struct Columns {
    names: Vec<String>,
    depth: usize,
}

impl Columns {
    fn add(&mut self, name: String) {
        if !self.names.contains(&name) {
            self.names.push(name);
        }
    }
}

impl Visitor for Columns {
    type Break = String;

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<String> {
        ControlFlow::Break("a query has no place here".to_owned())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return ControlFlow::Break(format!("it is more than {DEPTH_MAX} operators deep"));
        }
        match expr {
            Expr::Identifier(name) => {
                let name = name.value.to_lowercase();
                if UNREPEATABLE.contains(&name.as_str()) {
                    return ControlFlow::Break(unrepeatable(&name));
                }
                self.add(name);
            }
            Expr::CompoundIdentifier(names) => {
                let names: Vec<String> = names.iter().map(|name| name.value.to_lowercase()).collect();
                self.add(names.join("."));
            }
            Expr::Function(function) => {
                let name = last_part(&function.name);
                if function.over.is_some() || AGGREGATES.contains(&name.as_str()) {
                    let message = format!("`{name}` needs many rows");
                    return ControlFlow::Break(message);
                }
                if UNREPEATABLE.contains(&name.as_str()) {
                    return ControlFlow::Break(unrepeatable(&name));
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<String> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

fn unrepeatable(name: &str) -> String {
    format!("`{name}` gives another answer each time, so a retry would not repeat its work")
}

fn last_part(name: &ObjectName) -> String {
    match name.0.last() {
        Some(ObjectNamePart::Identifier(name)) => name.value.to_lowercase(),
        _ => String::new(),
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
    fn names_are_quoted_and_nothing_else_is_changed() {
        for (expression, expected) in [
            ("at", "\"at\""),
            ("at > TIMESTAMP '2024-01-01 at'", "\"at\" > TIMESTAMP '2024-01-01 at'"),
            ("limit * \"at\"  + column", "\"limit\" * \"at\"  + \"column\""),
            ("lower(désc) || 'é'\n || desc", "lower(\"désc\") || 'é'\n || \"desc\""),
            ("v.at::DOUBLE", "\"v\".\"at\"::DOUBLE"),
            ("CASE WHEN a IS NULL THEN 0 ELSE b END", "CASE WHEN \"a\" IS NULL THEN 0 ELSE \"b\" END"),
            ("extract(hour FROM at AT TIME ZONE 'UTC')", "extract(hour FROM \"at\" AT TIME ZONE 'UTC')"),
            ("at - INTERVAL 2 HOUR", "\"at\" - INTERVAL 2 HOUR"),
            ("a +", "a +"),
        ] {
            assert_eq!(quote_columns(expression), expected, "{expression}");
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
            "sum(a)",
            "a; DROP TABLE x",
            "now()",
            "current_date",
            "random()",
        ] {
            assert!(columns(expression).is_err(), "{expression}");
        }
    }

    #[test]
    fn a_syntax_error_has_its_place() {
        let error = columns("a + * b").unwrap_err();
        assert_eq!(error.offset, Some(4), "{error}");
    }
}
