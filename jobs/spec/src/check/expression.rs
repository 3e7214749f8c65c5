//! SQL expressions of features and labels: their columns exist, and a bare column has the declared type.

use indexmap::IndexMap;

use super::World;
use crate::{ObjectRef, Type, expr::sql, yaml::fields::At};

/// Checks one expression over the columns of an object. `ty`: what it is declared to be, if anything.
pub(super) fn sql(
    world: &World<'_>,
    at: &At<'_>,
    expression: &str,
    of: &ObjectRef,
    columns: &IndexMap<String, Type>,
    ty: Option<Type>,
) {
    if at.blotted() || expression.is_empty() {
        return;
    }
    let used = match sql::columns(expression) {
        Ok(used) => used,
        Err(error) => {
            let length = expression.chars().count();
            let offset = error.offset.unwrap_or(0).min(length);
            let part = (offset, if error.offset.is_some() { 1 } else { length });
            at.error_within(307, format!("not an expression over one row: {}", error.message), "", part);
            return;
        }
    };
    for column in &used {
        let found = world.column(at, of, columns, column);
        let bare = expression.trim().trim_matches('"').eq_ignore_ascii_case(column);
        if let (true, Some(found), Some(expected)) = (bare, found, ty)
            && found != expected
        {
            at.error(304, format!("`{column}` is {found}, but {expected} is declared"));
        }
    }
}
