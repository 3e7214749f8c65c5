//! Pipelines: steps and what they need, and that every name in an expression is there when it is evaluated.

use indexmap::IndexSet;

use super::{World, step};
use crate::{
    Pipeline, Step,
    diagnostic::closest,
    expr::cel::{self, FUNCTIONS, InvalidCel},
    steps::schema::step_kind,
    yaml::{
        Data,
        fields::{At, list},
    },
};

pub(super) fn pipeline(world: &World<'_>, name: &str, at: &At<'_>) {
    let Some(pipeline) = world.objects.pipelines.get(name) else { return };
    for (name, declared) in &pipeline.steps {
        let at = at.find(&["steps", name]);
        needs(pipeline, name, declared, &at);
        step::with(world, declared, &at);
        let scope = InScope { pipeline, step: name, above: above(pipeline, name) };
        if at.node.get("with").is_some() {
            expressions(&at.find(&["with"]), &scope);
        }
        if let Some(condition) = &declared.condition {
            let at = at.find(&["if"]);
            let (offset, _) = at.word(&condition.to_lowercase());
            expression(&at, condition, offset, &scope, true);
        }
    }
}

fn needs(pipeline: &Pipeline, name: &str, step: &Step, at: &At<'_>) {
    for (index, need) in step.needs.iter().enumerate() {
        let at = at.find(&["needs", &index.to_string()]);
        if !pipeline.steps.contains_key(need) {
            at.unknown(
                301,
                format!("there is no step `{need}`"),
                need,
                pipeline.steps.keys().map(String::as_str),
            );
        } else if need == name || above(pipeline, need).contains(name) {
            at.error(311, format!("step `{name}` waits for itself through `{need}`"));
        }
    }
}

/// All steps that have completed when this one starts.
fn above(pipeline: &Pipeline, step: &str) -> IndexSet<String> {
    let mut all = IndexSet::new();
    let mut next = vec![step.to_owned()];
    while let Some(name) = next.pop() {
        for need in pipeline.steps.get(&name).into_iter().flat_map(|step| &step.needs) {
            if all.insert(need.clone()) {
                next.push(need.clone());
            }
        }
    }
    all
}

/// What an expression may name.
struct InScope<'p> {
    pipeline: &'p Pipeline,
    step: &'p str,
    above: IndexSet<String>,
}

/// Every `${{ }}` in a value, at any depth.
fn expressions(at: &At<'_>, scope: &InScope<'_>) {
    match &at.node.data {
        Data::Scalar { .. } if at.blotted() => {}
        Data::Scalar { text, .. } => match cel::parts(text) {
            Ok(parts) => {
                for part in parts.iter().filter(|part| part.expression) {
                    expression(at, part.text, part.offset, scope, false);
                }
            }
            Err(error) => drop(at.error_within(313, error.message, "", (error.offset.unwrap_or(0), 3))),
        },
        Data::List(_) => at.list().unwrap_or_default().iter().for_each(|at| expressions(at, scope)),
        Data::Map(_) => at.entries().unwrap_or_default().iter().for_each(|(_, at)| expressions(at, scope)),
    }
}

fn expression(at: &At<'_>, text: &str, offset: usize, scope: &InScope<'_>, condition: bool) {
    if at.blotted() {
        return;
    }
    let program = match cel::compile(text) {
        Ok(program) => program,
        Err(InvalidCel { message, offset: within, .. }) => {
            let part =
                (offset + within.unwrap_or(0), if within.is_some() { 1 } else { text.chars().count() });
            at.error_within(313, format!("not an expression: {message}"), "", part);
            return;
        }
    };
    let names = cel::names(&program);
    let mut known = true;
    for function in names.functions.iter().filter(|function| !FUNCTIONS.contains(&function.as_str())) {
        known = false;
        let said =
            closest(function, &FUNCTIONS).map(|near| format!("did you mean `{near}`?")).unwrap_or_default();
        at.error_within(
            313,
            format!("there is no function `{function}`"),
            &said,
            at.word(&function.to_lowercase()),
        );
    }
    for path in &names.paths {
        let segments: Vec<&str> = path.iter().map(String::as_str).collect();
        name(at, &segments, scope);
    }
    if let Some(message) = known.then(|| cel::never(&program, &names, condition)).flatten() {
        let whole = (offset, text.chars().count());
        at.error_within(313, format!("no run can evaluate this: {message}"), "", whole);
    }
}

fn name(at: &At<'_>, path: &[&str], scope: &InScope<'_>) {
    let missing = |message: String, name: &str, known: Vec<&str>| {
        let said = closest(name, &known).map(|near| format!("did you mean `{near}`?")).unwrap_or_default();
        let draft = at.error_within(314, message, &said, at.word(&path.join(".").to_lowercase()));
        if said.is_empty() && !known.is_empty() {
            draft.help(format!("there are {}", list(&known)));
        }
    };
    match path {
        ["params"] | ["run", "date" | "time" | "id"] | [] => {}
        ["params", param, ..] => {
            if !scope.pipeline.params.contains_key(*param) {
                let known = scope.pipeline.params.keys().map(String::as_str).collect();
                missing(format!("there is no parameter `{param}`"), param, known);
            }
        }
        ["run", field, ..] => missing(format!("a run has no `{field}`"), field, vec!["date", "time", "id"]),
        ["run"] => missing("`run` is not a value".to_owned(), "run", vec!["run.date", "run.time", "run.id"]),
        ["steps", step, rest @ ..] => match scope.pipeline.steps.get(*step) {
            None => {
                let known = scope.pipeline.steps.keys().map(String::as_str).collect();
                missing(format!("there is no step `{step}`"), step, known);
            }
            Some(_) if !scope.above.contains(*step) => {
                at.error_within(
                    314,
                    format!("step `{}` reads outputs of `{step}`, but does not wait for it", scope.step),
                    "",
                    at.word(&path.join(".").to_lowercase()),
                )
                .help(format!("add it: `needs: [{step}]`"));
            }
            Some(declared) => match rest {
                ["outputs", output, ..] => {
                    let Some(kind) = step_kind(&declared.uses).filter(|kind| !kind.open) else { return };
                    if !kind.outputs.contains(output) {
                        missing(
                            format!("step `{step}` has no output `{output}`"),
                            output,
                            kind.outputs.to_vec(),
                        );
                    }
                }
                ["outputs"] => {}
                _ => missing(
                    format!("a step has `outputs`, as in `steps.{step}.outputs.NAME`"),
                    "",
                    Vec::new(),
                ),
            },
        },
        [root, ..] => {
            missing(format!("there is no `{root}` in an expression"), root, vec!["params", "run", "steps"]);
        }
    }
}
