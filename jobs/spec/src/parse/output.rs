//! A model's outputs: `name: type`, or a map for what is more than one value.

use indexmap::IndexMap;

use crate::{
    OutputType, Type,
    yaml::{
        Data,
        fields::{At, Fields},
    },
};

/// Most classes of one output.
const CLASSES_MAX: usize = 1000;
/// Most floats of one vector.
const SIZE_MAX: i64 = 4096;
/// Longest name of a class, in characters.
const CLASS_LENGTH_MAX: usize = 63;

pub(super) fn outputs(at: &At<'_>) -> Option<IndexMap<String, OutputType>> {
    let mut outputs = IndexMap::new();
    // DuckDB tells no capitals apart in the names of columns.
    let mut columns: IndexMap<String, String> = IndexMap::new();
    for (name, at) in at.named_entries()? {
        let Some(ty) = output(&at, &name) else { continue };
        for (column, _) in ty.columns(&name) {
            let other = columns.insert(column.to_lowercase(), name.clone());
            if let Some(other) = other.filter(|other| *other != name) {
                at.key_error(316, format!("outputs `{other}` and `{name}` both have a column `{column}`"), "")
                    .help("in tables a class also has a column `NAME_CLASS` for each class, a vector `NAME_0`, `NAME_1` and so on");
            }
        }
        outputs.insert(name, ty);
    }
    if at.entries()?.is_empty() {
        at.error(209, "a model has at least one output");
    }
    Some(outputs)
}

fn output(at: &At<'_>, name: &str) -> Option<OutputType> {
    if let Data::Scalar { .. } = at.node.data {
        return match kind(at)? {
            Kind::Scalar(ty) => Some(ty.into()),
            Kind::Class => lacking(at, name, "classes", "type: class, classes: [a, b]"),
            Kind::Vector => lacking(at, name, "size", "type: vector, size: 8"),
        };
    }
    let mut fields = at.fields(format!("output `{name}`"))?;
    let kind = fields.need("type").and_then(|at| kind(&at));
    let ty = match kind {
        None => {
            // Without a type nothing can be said of these, but they are known.
            fields.get("classes");
            fields.get("size");
            None
        }
        Some(Kind::Scalar(ty)) => {
            foreign(&mut fields, "classes", "a class");
            foreign(&mut fields, "size", "a vector");
            Some(ty.into())
        }
        Some(Kind::Class) => {
            foreign(&mut fields, "size", "a vector");
            fields.need("classes").and_then(|at| classes(&at)).map(OutputType::Class)
        }
        Some(Kind::Vector) => {
            foreign(&mut fields, "classes", "a class");
            let size = fields.need("size").and_then(|at| at.int(1, SIZE_MAX));
            size.and_then(|size| u32::try_from(size).ok()).map(OutputType::Vector)
        }
    };
    fields.finish();
    ty
}

enum Kind {
    Scalar(Type),
    Class,
    Vector,
}

fn kind(at: &At<'_>) -> Option<Kind> {
    let text = at.text()?;
    match text.as_str() {
        "class" => return Some(Kind::Class),
        "vector" => return Some(Kind::Vector),
        _ => {}
    }
    let ty = Type::PLAIN.into_iter().find(|ty| ty.to_string() == text);
    if ty.is_none() {
        let known = Type::PLAIN.map(|ty| ty.to_string());
        let known = known.iter().map(String::as_str).chain(["class", "vector"]);
        at.unknown(209, format!("`{text}` is not a type of outputs"), &text, known);
    }
    ty.map(Kind::Scalar)
}

fn lacking(at: &At<'_>, name: &str, field: &str, form: &str) -> Option<OutputType> {
    at.key_error(204, format!("output `{name}` has no `{field}`"), &format!("`{field}` is missing"))
        .help(format!("write `{name}: {{ {form} }}`"));
    None
}

fn foreign(fields: &mut Fields<'_>, field: &'static str, owner: &str) {
    if let Some(at) = fields.get(field) {
        at.key_error(212, format!("`{field}` belongs to {owner}"), "").help("leave it out, or change `type`");
    }
}

fn classes(at: &At<'_>) -> Option<Vec<String>> {
    let items = at.list()?;
    if !(2..=CLASSES_MAX).contains(&items.len()) {
        at.error(209, format!("a class has 2 to {CLASSES_MAX} classes, here are {}", items.len()))
            .help("list them in the order of the probabilities that the model gives: `classes: [a, b]`");
        return None;
    }
    let mut classes: Vec<String> = Vec::new();
    for item in &items {
        let class = item.text()?;
        if class.trim() != class
            || class.is_empty()
            || class.chars().any(char::is_control)
            || class.chars().count() > CLASS_LENGTH_MAX
        {
            item.error(209, format!("`{class}` is not the name of a class")).help(format!(
                "it is text of at most {CLASS_LENGTH_MAX} characters in one line, without spaces around it"
            ));
        } else if let Some(other) = classes.iter().find(|other| other.to_lowercase() == class.to_lowercase())
        {
            item.error(209, format!("class `{class}` is listed already, as `{other}`"))
                .help("each class has a column of its name in tables, where capitals make no difference");
        }
        classes.push(class);
    }
    Some(classes)
}
