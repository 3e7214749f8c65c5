//! Which functions an expression over one row may call: those that DuckDB's own catalog says are the same each time.

use std::collections::HashMap;

use duckdb::Connection;

use crate::parsed::{Call, Parsed};

/// The catalog says of these that they are the same each time, but they read a clock or a setting.
const NOT_THE_SAME: [(&str, Option<usize>); 6] = [
    ("age", Some(1)),
    ("current_localtime", None),
    ("current_localtimestamp", None),
    ("current_setting", None),
    ("getvariable", None),
    ("version", None),
];

/// What they make grows with a number, not with the row: one row could take all memory.
const UNBOUNDED: [&str; 6] = ["array_resize", "bar", "bitstring", "generate_series", "list_resize", "range"];

/// Code, message, remedy.
pub(super) type Objection = (u16, String, String);

/// The catalog, by name.
#[derive(Debug)]
pub(super) struct Functions(HashMap<String, Function>);

#[derive(Debug)]
struct Function {
    /// Whether there is one that takes a single row.
    scalar: bool,
    /// Whether all of them are the same each time.
    consistent: bool,
    /// Of a macro: what it is made of. Its nature follows from that.
    definition: Option<String>,
}

impl Functions {
    /// What this DuckDB has.
    pub(super) fn read(connection: &Connection) -> Result<Self, duckdb::Error> {
        let mut statement = connection.prepare(include_str!("../../queries/check/functions.sql"))?;
        let function = |row: &duckdb::Row<'_>| {
            let function = Function { scalar: row.get(1)?, consistent: row.get(2)?, definition: row.get(3)? };
            Ok((row.get(0)?, function))
        };
        Ok(Self(statement.query_map([], function)?.collect::<Result<_, _>>()?))
    }

    /// Whether a call takes a single row, and is the same each time. Of a function that isn't there DuckDB says so.
    fn nature(&self, connection: &Connection, call: &Call) -> (bool, bool) {
        let Some(function) = self.0.get(&call.name) else { return (true, true) };
        let otherwise = |(name, arguments): &(&str, Option<usize>)| {
            call.name == *name && arguments.is_none_or(|count| count == call.arguments)
        };
        let Some(definition) = &function.definition else {
            return (function.scalar, function.consistent && !NOT_THE_SAME.iter().any(otherwise));
        };
        let Ok(Some(parsed)) = Parsed::parse(connection, &format!("SELECT {definition}")) else {
            return (false, false);
        };
        let natures: Vec<_> = parsed
            .calls()
            .iter()
            .map(|inner| if inner.name == call.name { (true, false) } else { self.nature(connection, inner) })
            .collect();
        let moment = definition.to_lowercase().contains("current_");
        (
            natures.iter().all(|(scalar, _)| *scalar),
            !moment && !parsed.nested() && natures.iter().all(|(_, consistent)| *consistent),
        )
    }

    /// Whether an expression over one row may call it.
    pub(super) fn judge(
        &self,
        connection: &Connection,
        call: &Call,
        repeatable: bool,
    ) -> Result<(), Objection> {
        let Call { name, place, .. } = call;
        let over_rows = |message: String, help: &str| Err((307, message, help.to_owned()));
        if !place.is_empty() {
            let message = format!("`{place}.{name}` names where a function is");
            return over_rows(message, "functions go by their names alone");
        }
        let (scalar, consistent) = self.nature(connection, call);
        if !scalar {
            let message = format!("not an expression over one row: `{name}` needs many rows");
            return over_rows(message, "for an aggregate declare a window: `sum: COLUMN, window: 7d`");
        }
        if UNBOUNDED.contains(&name.as_str()) || wide(call) {
            let message = format!("the result of `{name}` has no size limit");
            return over_rows(message, "a value of one row is not larger than 64 KiB");
        }
        if repeatable && !consistent {
            let message =
                format!("`{name}` gives another result each time, so a retry would not repeat its work");
            let help = "use a time column of the row; for the age of a value declare `age: true`";
            return Err((480, message, help.to_owned()));
        }
        Ok(())
    }
}

/// `format` and `printf` pad to any width that the pattern asks for.
fn wide(call: &Call) -> bool {
    let digits = |text: &String| text.split(|c: char| !c.is_ascii_digit()).any(|run| run.len() > 3);
    matches!(call.name.as_str(), "format" | "printf")
        && call.first.as_ref().is_none_or(|text| digits(text) || text.contains('*'))
}
