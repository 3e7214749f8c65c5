//! What a model gives under one name: a value, a class with probabilities, or a vector.

use std::fmt;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::Type;

/// The type of a model's output. As JSON it is what YAML says: `"float"`, `{"type": "class", "classes": […]}` or
/// `{"type": "vector", "size": 8}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Told", into = "Told")]
pub enum OutputType {
    /// One value.
    Scalar(Type),
    /// One of these classes, with the probability of each, in this order. Of equally probable ones it is the first.
    Class(Vec<String>),
    /// So many finite floats.
    Vector(u32),
}

impl OutputType {
    /// The columns that it is in tables, in order: a value is a column of the output's name; a class is one too, text,
    /// followed by `NAME_CLASS`, the probability of each class; a vector is `NAME_0`, `NAME_1` and so on.
    pub fn columns(&self, name: &str) -> Vec<(String, Type)> {
        match self {
            Self::Scalar(ty) => vec![(name.to_owned(), *ty)],
            Self::Class(classes) => {
                let label = (name.to_owned(), Type::String);
                let probability = |class: &String| (probability_column(name, class), Type::Float);
                std::iter::once(label).chain(classes.iter().map(probability)).collect()
            }
            Self::Vector(size) => (0..*size).map(|index| (format!("{name}_{index}"), Type::Float)).collect(),
        }
    }
}

/// The column that holds the probability of a class in tables.
pub fn probability_column(output: &str, class: &str) -> String {
    format!("{output}_{class}")
}

/// The output that scores, means and drift are of, and that monitors call `prediction`: the first float or class.
pub fn scored(outputs: &IndexMap<String, OutputType>) -> Option<(&str, &OutputType)> {
    let fits = |ty: &OutputType| matches!(ty, OutputType::Scalar(Type::Float) | OutputType::Class(_));
    outputs.iter().find(|(_, ty)| fits(ty)).map(|(name, ty)| (name.as_str(), ty))
}

impl From<Type> for OutputType {
    fn from(ty: Type) -> Self {
        Self::Scalar(ty)
    }
}

impl fmt::Display for OutputType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(ty) => ty.fmt(f),
            Self::Class(classes) => write!(f, "class of {}", classes.join(", ")),
            Self::Vector(size) => write!(f, "vector of {size}"),
        }
    }
}

/// How it is written down; scalars stay the plain word that they always were.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Told {
    Scalar(Type),
    Shaped(Shaped),
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Shaped {
    Class { classes: Vec<String> },
    Vector { size: u32 },
}

impl From<Told> for OutputType {
    fn from(told: Told) -> Self {
        match told {
            Told::Scalar(ty) => Self::Scalar(ty),
            Told::Shaped(Shaped::Class { classes }) => Self::Class(classes),
            Told::Shaped(Shaped::Vector { size }) => Self::Vector(size),
        }
    }
}

impl From<OutputType> for Told {
    fn from(ty: OutputType) -> Self {
        match ty {
            OutputType::Scalar(ty) => Self::Scalar(ty),
            OutputType::Class(classes) => Self::Shaped(Shaped::Class { classes }),
            OutputType::Vector(size) => Self::Shaped(Shaped::Vector { size }),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_is_written_down_as_yaml_says_it() {
        for (ty, told) in [
            (OutputType::Scalar(Type::Float), json!("float")),
            (
                OutputType::Class(vec!["a".into(), "b".into()]),
                json!({"type": "class", "classes": ["a", "b"]}),
            ),
            (OutputType::Vector(8), json!({"type": "vector", "size": 8})),
        ] {
            assert_eq!(serde_json::to_value(&ty).unwrap(), told);
            assert_eq!(serde_json::from_value::<OutputType>(told).unwrap(), ty);
        }
    }

    #[test]
    fn tables_have_flat_columns() {
        let names = |ty: OutputType| -> Vec<String> {
            ty.columns("x").into_iter().map(|(name, ty)| format!("{name}: {ty}")).collect()
        };
        assert_eq!(names(Type::Int.into()), ["x: int"]);
        let classes = OutputType::Class(vec!["a".into(), "b".into()]);
        assert_eq!(names(classes), ["x: string", "x_a: float", "x_b: float"]);
        assert_eq!(names(OutputType::Vector(2)), ["x_0: float", "x_1: float"]);
    }
}
