//! What a model folder must say before it becomes a version: MLflow's `MLmodel` with flavors and a signature, and
//! columns that are the model's own, by name and type, and nulls only where the model takes them. Pure but for reading
//! one small file.

use std::{fmt, path::Path};

use indexmap::IndexMap;
use serde::Deserialize;
use tidemill_inference::Signature;
use tidemill_spec::{Hydration, HydrationRead, Objects, OutputType, Rule, Type};

/// The parts of `MLmodel` that matter here; it may say more.
#[derive(Debug, Deserialize)]
struct MlModel {
    #[serde(default)]
    flavors: IndexMap<String, serde_json::Value>,
    #[serde(default)]
    signature: Option<MlSignature>,
}

#[derive(Debug, Deserialize)]
struct MlSignature {
    /// A JSON list of `{name, type}`, as text.
    inputs: String,
}

#[derive(Debug, Deserialize)]
struct MlColumn {
    name: String,
}

/// Checks `MLmodel` against the signature beside it; the message says what is missing.
///
/// # Errors
/// No such file, no flavor, no signature, or other columns than `signature` has.
pub fn check_mlmodel(folder: &Path, signature: &Signature) -> Result<(), String> {
    let text = std::fs::read_to_string(folder.join("MLmodel"))
        .map_err(|error| format!("MLmodel can't be read: {error}"))?;
    let model: MlModel =
        serde_saphyr::from_str(&text).map_err(|error| format!("MLmodel can't be read: {error}"))?;
    if model.flavors.is_empty() {
        return Err("MLmodel has no flavor".to_owned());
    }
    let Some(declared) = model.signature else {
        return Err("MLmodel has no signature".to_owned());
    };
    let columns: Vec<MlColumn> = serde_json::from_str(&declared.inputs)
        .map_err(|error| format!("the signature in MLmodel can't be read: {error}"))?;
    let names = columns.iter().map(|column| column.name.as_str());
    if !names.eq(signature.columns.iter().map(|column| column.name.as_str())) {
        return Err("MLmodel and tidemill.json list different columns".to_owned());
    }
    Ok(())
}

/// Compares what an artifact takes and gives with what the model declares; the message names the first difference.
///
/// # Errors
/// Another flavor, column, type or output; other columns in another order are the same, since rows are made by name.
pub fn check_signature(
    signature: &Signature,
    runtime: &str,
    columns: &IndexMap<String, Type>,
    outputs: &IndexMap<String, OutputType>,
) -> Result<(), String> {
    if signature.flavor != runtime {
        return Err(format!("its flavor is {}, but the model declares runtime {runtime}", signature.flavor));
    }
    check_columns(signature, columns)?;
    same("output", signature.outputs.iter().map(|(name, ty)| (name.as_str(), ty)), outputs)
}

fn check_columns(signature: &Signature, wanted: &IndexMap<String, Type>) -> Result<(), String> {
    for column in &signature.columns {
        match wanted.get(&column.name) {
            None => return Err(format!("column `{}` is not declared by the model", column.name)),
            Some(ty) if !takes(column.ty, *ty) => {
                return Err(format!(
                    "column `{}` is {}, but the model declares {ty}",
                    column.name, column.ty
                ));
            }
            Some(_) => {}
        }
    }
    let has = |name: &String| signature.columns.iter().any(|column| column.name == *name);
    match wanted.keys().find(|name| !has(name)) {
        Some(missing) => Err(format!("column `{missing}` is missing")),
        None => Ok(()),
    }
}

/// Whether a column of a model has values of a declared type. A frame of an author's own says nothing of the length of
/// lists.
fn takes(column: Type, declared: Type) -> bool {
    match (column, declared) {
        (Type::List { of, length: None }, Type::List { of: declared, .. }) => of == declared,
        _ => column == declared,
    }
}

/// Columns in which a null makes the model fail, though serving may find none: features without a default, but for
/// counts, which are never null. Keys and what the caller gives are always there.
pub(crate) fn nulls_that_fail(
    signature: &Signature,
    objects: &Objects,
    hydration: &Hydration,
) -> Vec<String> {
    let reads = hydration.rounds.iter().flatten();
    let given = |read: &HydrationRead, name: &String| {
        let feature = objects.views.get(&read.view).and_then(|view| view.features.get(name));
        feature.is_some_and(|feature| {
            let counted = matches!(feature.rule, Rule::Window { aggregate, .. } if aggregate.counts());
            feature.default.is_some() || counted
        })
    };
    let may_lack = reads.flat_map(|read| {
        read.features.iter().filter(move |name| !given(read, name)).map(|name| read.column(name))
    });
    let may_lack: Vec<String> = may_lack.collect();
    signature.no_nulls.iter().filter(|name| may_lack.contains(name)).cloned().collect()
}

fn same<'a, T: PartialEq + fmt::Display + 'a>(
    what: &str,
    has: impl Iterator<Item = (&'a str, &'a T)>,
    wanted: &'a IndexMap<String, T>,
) -> Result<(), String> {
    let has: Vec<_> = has.collect();
    let wanted: Vec<_> = wanted.iter().map(|(name, ty)| (name.as_str(), ty)).collect();
    let difference = has.iter().zip(&wanted).enumerate().find(|(_, (has, wanted))| has != wanted);
    if let Some((index, ((name, ty), (wanted_name, wanted_ty)))) = difference {
        return Err(format!(
            "{what} {} is `{name}` ({ty}), but the model declares `{wanted_name}` ({wanted_ty})",
            index + 1
        ));
    }
    match has.len().cmp(&wanted.len()) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Less => Err(format!("{what} `{}` is missing", wanted[has.len()].0)),
        std::cmp::Ordering::Greater => {
            Err(format!("{what} `{}` is not declared by the model", has[wanted.len()].0))
        }
    }
}

#[cfg(test)]
mod tests {
    use tidemill_inference::InputColumn;

    use super::*;

    fn columns(list: &[(&str, Type)]) -> IndexMap<String, Type> {
        list.iter().map(|(name, ty)| ((*name).to_owned(), *ty)).collect()
    }

    fn signature(list: &[(&str, Type)]) -> Signature {
        let columns = list
            .iter()
            .map(|(name, ty)| InputColumn { name: (*name).to_owned(), ty: *ty, categories: None })
            .collect();
        let outputs = outputs(Type::Float.into());
        Signature { flavor: "lightgbm".into(), columns, outputs, no_nulls: Vec::new() }
    }

    fn outputs(ty: OutputType) -> IndexMap<String, OutputType> {
        [("p".to_owned(), ty)].into()
    }

    #[test]
    fn lists_of_any_length_are_taken_for_those_of_one() {
        let columns = |ty: &str| columns(&[("e", ty.parse().unwrap())]);
        let check = |has: &str, wanted: &str| {
            let signature = signature(&[("e", has.parse().unwrap())]);
            check_signature(&signature, "lightgbm", &columns(wanted), &outputs(Type::Float.into()))
        };
        assert_eq!(check("float[]", "float[3]"), Ok(()));
        for (has, wanted) in [("float[2]", "float[3]"), ("float[3]", "float[]"), ("int[]", "float[3]")] {
            let told = format!("column `e` is {has}, but the model declares {wanted}");
            assert_eq!(check(has, wanted), Err(told));
        }
    }

    #[test]
    fn classes_count_with_their_order() {
        let class = |classes: &[&str]| {
            outputs(OutputType::Class(classes.iter().map(|&class| class.to_owned()).collect()))
        };
        let outputs = class(&["a", "b"]);
        let has = Signature { flavor: "sklearn".into(), columns: Vec::new(), outputs, no_nulls: Vec::new() };
        let check = |wanted| check_signature(&has, "sklearn", &IndexMap::new(), &wanted);
        assert_eq!(check(class(&["a", "b"])), Ok(()));
        let told = "output 1 is `p` (class of a, b), but the model declares `p` (class of b, a)";
        assert_eq!(check(class(&["b", "a"])).unwrap_err(), told);
    }

    #[test]
    fn the_first_difference_is_named() {
        let wanted = columns(&[("carrier", Type::String), ("hour", Type::Int)]);
        let check = |has: &[(&str, Type)]| {
            check_signature(&signature(has), "lightgbm", &wanted, &outputs(Type::Float.into()))
        };
        assert_eq!(check(&[("carrier", Type::String), ("hour", Type::Int)]), Ok(()));
        // Rows are made by name.
        assert_eq!(check(&[("hour", Type::Int), ("carrier", Type::String)]), Ok(()));
        for (has, message) in [
            (
                vec![("carrier", Type::String), ("hour", Type::Float)],
                "column `hour` is float, but the model declares int",
            ),
            (vec![("carrier", Type::String)], "column `hour` is missing"),
            (
                vec![("carrier", Type::String), ("hour", Type::Int), ("late", Type::Bool)],
                "column `late` is not declared by the model",
            ),
        ] {
            assert_eq!(check(&has).unwrap_err(), message);
        }
    }

    #[test]
    fn a_folder_without_a_signature_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let signature = signature(&[("hour", Type::Int)]);
        let check = |text: &str| {
            std::fs::write(folder.path().join("MLmodel"), text).unwrap();
            check_mlmodel(folder.path(), &signature)
        };
        let inputs = r#"signature: { inputs: '[{"name": "hour", "type": "long"}]', outputs: '[]' }"#;
        assert_eq!(check(&format!("flavors: {{ lightgbm: {{ data: model.txt }} }}\n{inputs}\n")), Ok(()));
        assert_eq!(check("flavors: { lightgbm: {} }\n").unwrap_err(), "MLmodel has no signature");
        assert_eq!(check(&format!("{inputs}\n")).unwrap_err(), "MLmodel has no flavor");
        assert_eq!(
            check(&format!("flavors: {{ lightgbm: {{}} }}\n{}\n", inputs.replace("hour", "day")))
                .unwrap_err(),
            "MLmodel and tidemill.json list different columns"
        );
    }
}
