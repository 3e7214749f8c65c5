//! What the server is, and what a model takes and gives, in the protocol's words.

use serde_json::{Map, Value as Json, json};
use tidemill_spec::{Element, OutputType, Type};

use super::{PROBABILITIES, which};
use crate::{
    Error,
    predict::Predictor,
    readiness::silent,
    warm::{Loaded, Which},
};

pub(super) const SERVER: &str = "tidemill";
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Elements as bytes behind the JSON.
pub(super) const EXTENSIONS: [&str; 1] = ["binary_tensor_data"];

/// One tensor that a model takes or gives.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) datatype: &'static str,
    /// -1: any length.
    pub(super) shape: Vec<i64>,
}

/// What a model takes and gives.
#[derive(Debug)]
pub(super) struct Metadata {
    pub(super) name: String,
    pub(super) versions: Vec<String>,
    pub(super) platform: String,
    pub(super) inputs: Vec<Tensor>,
    pub(super) outputs: Vec<Tensor>,
    /// What can be given instead of `inputs`.
    pub(super) vector: Vec<Tensor>,
    /// Inputs that may be left out.
    pub(super) optional: Vec<String>,
    /// The classes of outputs that are classes.
    pub(super) classes: Map<String, Json>,
}

impl Tensor {
    fn of(name: &str, ty: Type) -> Self {
        let (datatype, width) = match ty {
            Type::List { of, length } => (element(of), Some(length.map_or(-1, i64::from))),
            Type::Int => ("INT64", None),
            Type::Float => ("FP64", None),
            Type::Bool => ("BOOL", None),
            Type::String | Type::Date | Type::Timestamp | Type::Decimal(_) => ("BYTES", None),
        };
        Self { name: name.to_owned(), datatype, shape: [Some(-1), width].into_iter().flatten().collect() }
    }

    pub(super) fn json(&self) -> Json {
        json!({"name": self.name, "datatype": self.datatype, "shape": self.shape})
    }
}

fn element(of: Element) -> &'static str {
    match of {
        Element::Int => "INT64",
        Element::Float => "FP64",
        Element::Bool => "BOOL",
        _ => "BYTES",
    }
}

/// What a model, or one version of it, takes and gives.
pub(super) fn metadata(predictor: &Predictor, model: &str, version: &str) -> Result<Metadata, Error> {
    let (live, loaded) = predictor.resolve(model, &which(version, None)?)?;
    let known = live.models.get(model);
    let mut versions: Vec<u32> = known.into_iter().flat_map(|known| known.versions.keys().copied()).collect();
    versions.sort_unstable();
    let version = &loaded.live;
    let inputs = version.keys.iter().chain(&version.request).map(|(name, ty)| Tensor::of(name, *ty));
    let columns = &loaded.pool.signature().columns;
    let classes = version.outputs.iter().filter_map(|(name, ty)| match ty {
        OutputType::Class(classes) => Some((name.clone(), json!(classes))),
        OutputType::Scalar(_) | OutputType::Vector(_) => None,
    });
    Ok(Metadata {
        name: model.to_owned(),
        versions: versions.iter().map(ToString::to_string).collect(),
        platform: format!("{SERVER}_{}", version.runtime),
        inputs: inputs.collect(),
        outputs: outputs(&loaded),
        vector: columns.iter().map(|column| Tensor::of(&column.name, column.ty)).collect(),
        optional: version.nullable.clone().unwrap_or_default(),
        classes: classes.collect(),
    })
}

fn outputs(loaded: &Loaded) -> Vec<Tensor> {
    let mut tensors = Vec::new();
    for (name, ty) in &loaded.live.outputs {
        match ty {
            // A list among outputs is text, as JSON has it.
            OutputType::Scalar(Type::List { .. }) => tensors.push(Tensor::of(name, Type::String)),
            OutputType::Scalar(ty) => tensors.push(Tensor::of(name, *ty)),
            OutputType::Class(classes) => {
                tensors.push(Tensor::of(name, Type::String));
                let shape = vec![-1, i64::try_from(classes.len()).unwrap_or(-1)];
                tensors.push(Tensor { name: format!("{name}{PROBABILITIES}"), datatype: "FP64", shape });
            }
            OutputType::Vector(size) => {
                tensors.push(Tensor {
                    name: name.clone(),
                    datatype: "FP64",
                    shape: vec![-1, i64::from(*size)],
                });
            }
        }
    }
    tensors
}

/// Why a model, or one version of it, doesn't answer; `None` if it does.
pub(super) fn readiness(predictor: &Predictor, model: &str, version: &str) -> Result<Option<String>, Error> {
    match which(version, None)? {
        which @ Which::Version(_) => match predictor.resolve(model, &which) {
            Ok((_, loaded)) => Ok(silent(&predictor.seen.borrow(), &loaded)),
            Err(error @ Error::NotLoaded { .. }) => Ok(Some(error.to_string())),
            Err(error) => Err(error),
        },
        Which::Champion | Which::Alias(_) => predictor.model_readiness(model),
    }
}
