//! SQL expressions of features, labels and conditions: their columns exist, and a bare column has the declared type.

use indexmap::IndexMap;

use super::World;
use crate::{
    DeclaredSql, SqlRole, Type,
    diagnostic::closest,
    expr::sql::Expression,
    yaml::fields::{At, list},
};

/// The row that an expression is about.
pub(super) struct Row<'a> {
    /// What is said of a name that isn't among them: "source `orders` has no column".
    pub(super) lacks: String,
    pub(super) columns: &'a IndexMap<String, Type>,
    /// Whether all columns are known: a broken object may have others.
    pub(super) whole: bool,
}

/// Checks one expression over a row. `ty`: what it is declared to be; `repeatable`: see [`SqlRole::Expression`].
pub(super) fn sql(world: &World<'_>, at: &At<'_>, text: &str, row: &Row<'_>, ty: Type, repeatable: bool) {
    if at.blotted() {
        return;
    }
    let expression = match Expression::parse(text) {
        Ok(expression) => expression,
        Err(error) => {
            let message = format!("not an expression over one row: {}", error.message);
            let sql = DeclaredSql::new(at, text, SqlRole::Query);
            world.report.add(sql.mistake(307, message, None, error.offset, world.files));
            return;
        }
    };
    let before = world.report.count();
    for column in expression.columns() {
        match row.columns.get(column) {
            Some(found) => {
                let bare = text.trim().trim_matches('"').eq_ignore_ascii_case(column);
                if bare && *found != ty {
                    at.error(304, format!("`{column}` is {found}, but {ty} is declared"));
                }
            }
            None if expression.moments().contains(column) => unrepeatable(at, column),
            None if row.whole => unknown(at, row, column),
            None => {}
        }
    }
    if row.whole && world.report.count() == before {
        let role = SqlRole::Expression { columns: row.columns.clone(), ty, repeatable };
        world.sql.borrow_mut().push(DeclaredSql::new(at, text, role));
    }
}

/// The moment of asking is another each time; where that is welcome, `now()` says it.
fn unrepeatable(at: &At<'_>, word: &str) {
    let message = format!("`{word}` gives another result each time, so a retry would not repeat its work");
    at.error_within(480, message, "", at.word(word))
        .help("use a time column of the row; for the age of a value declare `age: true`");
}

fn unknown(at: &At<'_>, row: &Row<'_>, column: &str) {
    let names: Vec<&str> = row.columns.keys().map(String::as_str).collect();
    let said = closest(column, &names).map(|near| format!("did you mean `{near}`?"));
    let message = format!("{} `{column}`", row.lacks);
    let draft = at.error_within(303, message, said.as_deref().unwrap_or_default(), at.word(column));
    if said.is_none() {
        draft.help(format!("its columns are {}", list(&names)));
    }
}
