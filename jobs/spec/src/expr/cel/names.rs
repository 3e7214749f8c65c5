//! The names an expression reads, so that `check` can prove them without running anything.

use cel::{
    Program,
    common::ast::{EntryExpr, Expr, IdedExpr},
};

/// Functions of CEL's standard library, and ours.
pub(crate) const FUNCTIONS: [&str; 31] = [
    "all",
    "bool",
    "bytes",
    "contains",
    "date",
    "days",
    "double",
    "duration",
    "dyn",
    "endsWith",
    "exists",
    "exists_one",
    "filter",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getFullYear",
    "getHours",
    "getMinutes",
    "getMonth",
    "has",
    "int",
    "map",
    "matches",
    "max",
    "min",
    "size",
    "startsWith",
    "string",
    "timestamp",
    "uint",
];

/// Functions that refuse some of what is written out in an expression: `date("2024-13-45")`.
const REFUSING: [&str; 4] = ["date", "days", "duration", "timestamp"];

/// What an expression reads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    /// `steps.train.outputs.auc` as its segments.
    pub paths: Vec<Vec<String>>,
    /// Functions by name, operators left out.
    pub functions: Vec<String>,
    /// Calls of functions that refuse some arguments.
    calls: Vec<IdedExpr>,
}

impl Names {
    /// Calls whose result, or refusal, is the same in every run.
    pub(super) fn constant_calls(&self) -> impl Iterator<Item = &IdedExpr> {
        self.calls.iter().filter(|call| of(call).paths.is_empty())
    }
}

/// The free names and the functions of a compiled expression.
pub(crate) fn names(program: &Program) -> Names {
    of(program.expression())
}

fn of(expr: &IdedExpr) -> Names {
    let mut names = Names::default();
    walk(expr, &mut names, &mut Vec::new());
    names
}

fn walk(expr: &IdedExpr, names: &mut Names, bound: &mut Vec<String>) {
    match &expr.expr {
        Expr::Ident(_) | Expr::Select(_) => match path(expr) {
            Some(path) if bound.contains(&path[0]) || path[0].starts_with('@') => {}
            Some(path) => names.paths.push(path),
            None => {
                if let Expr::Select(select) = &expr.expr {
                    walk(&select.operand, names, bound);
                }
            }
        },
        Expr::Call(call) => {
            if call.func_name.starts_with(|c: char| c.is_ascii_alphabetic()) {
                names.functions.push(call.func_name.clone());
            }
            if REFUSING.contains(&call.func_name.as_str()) {
                names.calls.push(expr.clone());
            }
            call.target.iter().for_each(|target| walk(target, names, bound));
            call.args.iter().for_each(|arg| walk(arg, names, bound));
        }
        Expr::List(list) => list.elements.iter().for_each(|element| walk(element, names, bound)),
        Expr::Map(map) => {
            for entry in &map.entries {
                if let EntryExpr::MapEntry(entry) = &entry.expr {
                    walk(&entry.key, names, bound);
                    walk(&entry.value, names, bound);
                }
            }
        }
        Expr::Comprehension(each) => {
            walk(&each.iter_range, names, bound);
            walk(&each.accu_init, names, bound);
            let before = bound.len();
            bound.extend([each.iter_var.clone(), each.accu_var.clone()]);
            bound.extend(each.iter_var2.clone());
            for part in [&each.loop_cond, &each.loop_step, &each.result] {
                walk(part, names, bound);
            }
            bound.truncate(before);
        }
        _ => {}
    }
}

/// How many loops run within each other: `map`, `all` and their like. One that gives the list of another comes before it.
pub(crate) fn loops(expr: &IdedExpr) -> usize {
    let deepest = |parts: &mut dyn Iterator<Item = &IdedExpr>| parts.map(loops).max().unwrap_or(0);
    match &expr.expr {
        Expr::Select(select) => loops(&select.operand),
        Expr::Call(call) => deepest(&mut call.target.as_deref().into_iter().chain(&call.args)),
        Expr::List(list) => deepest(&mut list.elements.iter()),
        Expr::Map(map) => deepest(&mut map.entries.iter().flat_map(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
            EntryExpr::StructField(_) => Vec::new(),
        })),
        Expr::Comprehension(each) => {
            let within = 1 + deepest(&mut [&each.loop_cond, &each.loop_step, &each.result].into_iter());
            within.max(loops(&each.iter_range)).max(loops(&each.accu_init))
        }
        _ => 0,
    }
}

/// `a.b.c` as its segments, where it is nothing but names.
fn path(expr: &IdedExpr) -> Option<Vec<String>> {
    match &expr.expr {
        Expr::Ident(name) => Some(vec![name.clone()]),
        Expr::Select(select) => {
            let mut path = path(&select.operand)?;
            path.push(select.field.clone());
            Some(path)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_are_counted_within_each_other_and_not_after_each_other() {
        let counted = |text: &str| loops(Program::compile(text).unwrap().expression());
        assert_eq!(counted("1 + 2"), 0);
        assert_eq!(counted("[1].map(a, a).filter(b, b > 0).all(c, c > 0)"), 1);
        assert_eq!(counted("[1].all(a, {\"x\": [2].exists(b, b == a)}.x)"), 2);
    }

    #[test]
    fn free_names_are_found_and_bound_ones_left_out() {
        let found = |text: &str| names(&Program::compile(text).unwrap());
        let dotted = |text: &str| found(text).paths.iter().map(|path| path.join(".")).collect::<Vec<_>>();
        assert_eq!(dotted("run.date - days(params.days)"), ["run.date", "params.days"]);
        assert_eq!(
            dotted("params.list.exists(x, x > steps.a.outputs.n)"),
            ["params.list", "steps.a.outputs.n"]
        );
        assert_eq!(found("run.date - days(1)").functions, ["days"]);
    }
}
