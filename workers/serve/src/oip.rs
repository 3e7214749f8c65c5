//! The Open Inference Protocol, version 2: the same models for clients that send tensors and know nothing of entities.
//!
//! One tensor is one column. Inputs named as the entity's keys, and what only the caller knows, are **hydrated**: the
//! prediction is the one that `Predict` gives. Inputs that are the model's whole vector are given to the model as they are,
//! without a look at Redis. Names tell the two apart; where a model's vector is nothing but its keys and request columns,
//! they are hydrated, unless `hydrate: false` says otherwise. A column is never told by its place.
//!
//! Reading order: [`Infer`], [`infer`], then `tensor` (elements), `metadata` (what a model takes and gives), and the doors
//! `grpc` and `rest`, which only convert.

mod grpc;
mod metadata;
mod rest;
mod tensor;

use std::time::Duration;

use indexmap::IndexMap;
use serde_json::{Map, Value as Json};
use tidemill_inference::{Output, Outputs};
use tidemill_rows::Row;
use tidemill_spec::{OutputType, Type, Value};
use tokio::time::Instant;

pub(crate) use grpc::Door;
pub(crate) use rest::router;

use crate::{
    Error,
    ask::{Answer, Ask},
    predict::{Predictor, code_of},
    warm::{Loaded, Which},
};
use tensor::{Elements, Given, Told, shortened};

/// What a class's probabilities are called: the output's name and this.
const PROBABILITIES: &str = "_probabilities";
/// An output that every hydrated prediction has, for those who ask for it.
const PREDICTION_ID: &str = "prediction_id";

/// One request.
#[derive(Debug)]
struct Infer {
    model: String,
    /// A number; empty for none.
    version: String,
    settings: Settings,
    inputs: Vec<Given>,
    /// Outputs that are wanted; empty: all of the model's.
    outputs: Vec<String>,
    /// The caller's own deadline, where its transport has one.
    deadline: Option<Instant>,
}

/// What a request's `parameters` say.
#[derive(Debug, Default, PartialEq, Eq)]
struct Settings {
    alias: Option<String>,
    /// Whether the inputs name entities; not said: their names tell.
    hydrate: Option<bool>,
    /// How long the caller waits.
    timeout: Option<Duration>,
    /// Outputs as bytes after the JSON, where nothing else is said of one; REST only.
    binary_data_output: bool,
}

/// The answer.
#[derive(Debug)]
struct Inferred {
    model: String,
    version: u32,
    outputs: Vec<Told>,
}

impl Settings {
    /// Reads them; one that is not known is refused, so that none is taken for understood.
    fn read(parameters: &Map<String, Json>) -> Result<Self, Error> {
        let mut settings = Self::default();
        for (name, value) in parameters {
            let understood = match name.as_str() {
                "alias" => value.as_str().map(|alias| settings.alias = Some(alias.to_owned())),
                "hydrate" => value.as_bool().map(|hydrate| settings.hydrate = Some(hydrate)),
                "binary_data_output" => value.as_bool().map(|binary| settings.binary_data_output = binary),
                // Microseconds, as Triton has it; 0 is none.
                "timeout" => value.as_u64().map(|micros| {
                    settings.timeout = (micros > 0).then(|| Duration::from_micros(micros).min(FOREVER));
                }),
                // Says how clients put columns together; here each tensor says it itself.
                "content_type" => Some(()),
                _ => None,
            };
            understood.ok_or_else(|| {
                let known =
                    "`alias` (text), `hydrate` (bool), `timeout` (microseconds), `binary_data_output` (bool)";
                Error::Tensors(format!(
                    "parameter `{name}` with {} is not understood; there are {known}",
                    shortened(value)
                ))
            })?;
        }
        Ok(settings)
    }
}

/// Whether a wanted output shall be bytes after the JSON; `otherwise` where its `parameters` don't say. Over gRPC it has no
/// meaning: there the answer is raw if the request is.
fn binary(output: &str, parameters: &Map<String, Json>, otherwise: bool) -> Result<bool, Error> {
    let mut binary = otherwise;
    for (name, value) in parameters {
        match (name.as_str(), value.as_bool()) {
            ("binary_data", Some(wanted)) => binary = wanted,
            ("content_type", _) => {}
            _ => {
                let value = shortened(value);
                let problem = format!("output `{output}`: parameter `{name}` with {value} is not understood");
                return Err(Error::Tensors(format!("{problem}; there is `binary_data` (bool)")));
            }
        }
    }
    Ok(binary)
}

/// Longer than any prediction may take.
const FOREVER: Duration = Duration::from_hours(1);

/// Which version a name and a number mean.
fn which(version: &str, alias: Option<&String>) -> Result<Which, Error> {
    match (version, alias) {
        ("", None) => Ok(Which::Champion),
        ("", Some(alias)) => Ok(Which::Alias(alias.clone())),
        (_, Some(_)) => Err(Error::Tensors("give a version or the parameter `alias`, not both".to_owned())),
        (number, None) => number.parse().map(Which::Version).map_err(|_| {
            Error::Tensors(format!(
                "version `{number}` is not a number; an alias goes into the parameter `alias`"
            ))
        }),
    }
}

/// Answers one request.
async fn infer(predictor: &Predictor, infer: Infer) -> Result<Inferred, Error> {
    let Infer { model, version, settings, inputs, outputs: wanted, deadline } = infer;
    let own = settings.timeout.map(|timeout| Instant::now() + timeout);
    let deadline = [deadline, own].into_iter().flatten().min();
    let which = which(&version, settings.alias.as_ref())?;
    let resolved = predictor.resolve(&model, &which);
    let (_, loaded) = resolved.inspect_err(|error| predictor.metrics.unresolved(&code_of(error)))?;
    let rows = row_count(&inputs)?;
    predictor.check_entities(rows)?;
    let columns = declared_inputs(&inputs, &loaded, settings.hydrate)?;
    let (version, outputs, ids) = match columns {
        Columns::Entities => {
            let (entities, request) = split(&inputs, rows, &loaded)?;
            let ask = Ask { model: model.clone(), which, entities, request, want_features: false, deadline };
            let Answer { version, predictions, .. } = predictor.predict(ask).await?;
            let ids: Vec<String> = predictions.iter().map(|one| one.id.to_string()).collect();
            // A tensor has a value in every row: one that has none costs the request.
            let outputs = predictions.into_iter().map(|one| one.outputs).collect::<Result<Vec<_>, _>>()?;
            (version, outputs, Some(ids))
        }
        Columns::Vector => {
            let vectors = vectors(&inputs, rows, &loaded)?;
            (loaded.version, predictor.predict_vectors(&loaded, &vectors, deadline).await?, None)
        }
    };
    let mut told = tensors(&outputs, &loaded.live.outputs, &loaded.model)?;
    if let Some(ids) = ids {
        let id = Told { name: PREDICTION_ID.to_owned(), width: None, elements: Elements::Text(ids) };
        told.extend(wanted.contains(&id.name).then_some(id));
    }
    Ok(Inferred { model, version, outputs: picked(told, &wanted)? })
}

/// How many rows all inputs have.
fn row_count(inputs: &[Given]) -> Result<usize, Error> {
    let Some(first) = inputs.first() else {
        return Err(Error::Tensors("`inputs` is empty; give one tensor for each column".to_owned()));
    };
    if let Some(other) = inputs.iter().find(|input| input.rows() != first.rows()) {
        let (a, b) = (&first.name, &other.name);
        return Err(Error::Tensors(format!(
            "input `{a}` has {} rows, but `{b}` has {}; the first number of a shape is how many rows",
            first.rows(),
            other.rows()
        )));
    }
    match inputs.iter().enumerate().find(|(at, one)| inputs[..*at].iter().any(|it| it.name == one.name)) {
        Some((_, twice)) => Err(Error::Tensors(format!("input `{}` is there twice", twice.name))),
        None => Ok(first.rows()),
    }
}

/// What the inputs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Columns {
    Entities,
    Vector,
}

fn declared_inputs(inputs: &[Given], loaded: &Loaded, hydrate: Option<bool>) -> Result<Columns, Error> {
    let live = &loaded.live;
    let given = |name: &str| inputs.iter().any(|input| input.name == name);
    let known = |name: &String| live.keys.contains_key(name) || live.request.contains_key(name);
    let entities = inputs.iter().all(|input| known(&input.name)) && live.keys.keys().all(|key| given(key));
    let columns = &loaded.pool.signature().columns;
    let vector = inputs.len() == columns.len() && columns.iter().all(|column| given(&column.name));
    match (hydrate, entities, vector) {
        (Some(true) | None, true, _) => Ok(Columns::Entities),
        (Some(false) | None, _, true) => Ok(Columns::Vector),
        _ => {
            let entities: Vec<&str> =
                live.keys.keys().chain(live.request.keys()).map(String::as_str).collect();
            let columns: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            let (entities, columns) = (entities.join(", "), columns.join(", "));
            let takes = match hydrate {
                Some(true) => format!("its entities: {entities}"),
                Some(false) => format!("its whole vector: {columns}"),
                None => format!("its entities ({entities}) or its whole vector ({columns})"),
            };
            let given: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
            let model = &loaded.model;
            Err(Error::Tensors(format!("`{model}` takes {takes}; the inputs are {}", given.join(", "))))
        }
    }
}

/// One object for each row.
type Objects = Vec<Map<String, Json>>;

/// The keys of each row, and what only the caller knows of it.
fn split(inputs: &[Given], rows: usize, loaded: &Loaded) -> Result<(Objects, Objects), Error> {
    let of = |columns: &IndexMap<String, Type>| {
        let mut objects = vec![Map::new(); rows];
        for input in inputs {
            let Some(ty) = columns.get(&input.name) else { continue };
            for (object, value) in objects.iter_mut().zip(values(input, *ty)?) {
                object.insert(input.name.clone(), value);
            }
        }
        Ok::<_, Error>(objects)
    };
    let request = if loaded.live.request.is_empty() { Vec::new() } else { of(&loaded.live.request)? };
    Ok((of(&loaded.live.keys)?, request))
}

/// The model's own columns of each row.
fn vectors(inputs: &[Given], rows: usize, loaded: &Loaded) -> Result<Vec<Row>, Error> {
    let mut vectors = vec![Row::new(); rows];
    for column in &loaded.pool.signature().columns {
        let Some(input) = inputs.iter().find(|input| input.name == column.name) else { continue };
        for (entity, value) in values(input, column.ty)?.iter().enumerate() {
            let value = Value::from_json(value, column.ty).map_err(|error| Error::WrongType {
                entity,
                column: column.name.clone(),
                problem: error.to_string(),
            })?;
            vectors[entity].insert(column.name.clone(), value);
        }
    }
    Ok(vectors)
}

/// One value for each row.
fn values(input: &Given, ty: Type) -> Result<Vec<Json>, Error> {
    match ty {
        Type::List { .. } => input.lists().map_err(Error::Tensors),
        _ => input.scalars().map_err(Error::Tensors),
    }
}

/// All outputs as tensors, in declared order. Where a rollout has two versions answer, rows of both are in one tensor.
fn tensors(
    rows: &[Outputs],
    declared: &IndexMap<String, OutputType>,
    model: &str,
) -> Result<Vec<Told>, Error> {
    let mut tensors = Vec::new();
    for (name, ty) in declared {
        let values = rows.iter().map(|row| row.get(name).filter(|value| fits(value, ty)));
        let values: Vec<&Output> = values.collect::<Option<_>>().ok_or_else(|| {
            Error::Tensors(format!(
                "a row of `{model}` has no `{name}` as it is declared: another version answered it; name one, as in /v2/models/{model}/versions/N/infer"
            ))
        })?;
        let told = |name: String, width, elements| Told { name, width, elements };
        match ty {
            OutputType::Scalar(ty) => {
                tensors.push(told(name.clone(), None, scalars(name, *ty, &values, model)?));
            }
            OutputType::Class(classes) => {
                let (mut labels, mut shares) = (Vec::new(), Vec::new());
                for value in values {
                    if let Output::Class { label, probabilities } = value {
                        labels.push(label.clone());
                        shares.extend(probabilities.values());
                    }
                }
                tensors.push(told(name.clone(), None, Elements::Text(labels)));
                let shares = Elements::Float(shares);
                tensors.push(told(format!("{name}{PROBABILITIES}"), Some(classes.len()), shares));
            }
            OutputType::Vector(size) => {
                let floats = values.iter().flat_map(|value| match value {
                    Output::Vector(floats) => floats.as_slice(),
                    _ => &[],
                });
                let floats = Elements::Float(floats.copied().collect());
                tensors.push(told(name.clone(), Some(*size as usize), floats));
            }
        }
    }
    Ok(tensors)
}

/// Whether an output is of its declared type; null is of every scalar one.
fn fits(output: &Output, ty: &OutputType) -> bool {
    match (output, ty) {
        (Output::Scalar(value), OutputType::Scalar(ty)) => matches!(
            (value, ty),
            (Value::Null, _)
                | (Value::String(_), Type::String)
                | (Value::Int(_), Type::Int)
                | (Value::Float(_), Type::Float)
                | (Value::Bool(_), Type::Bool)
                | (Value::Date(_), Type::Date)
                | (Value::Timestamp(_), Type::Timestamp)
                | (Value::Decimal(_), Type::Decimal(_))
                | (Value::List(_), Type::List { .. })
        ),
        (Output::Class { probabilities, .. }, OutputType::Class(classes)) => probabilities.keys().eq(classes),
        (Output::Vector(floats), OutputType::Vector(size)) => floats.len() == *size as usize,
        _ => false,
    }
}

/// Values of one type; a float that is missing is NaN, and nothing else may be missing: tensors have no nulls.
fn scalars(name: &str, ty: Type, values: &[&Output], model: &str) -> Result<Elements, Error> {
    let scalar = |value: &&Output| match value {
        Output::Scalar(value) => value.clone(),
        _ => Value::Null,
    };
    let values = values.iter().map(scalar);
    let elements = match ty {
        Type::Float => Some(Elements::Float(
            values.map(|value| if let Value::Float(number) = value { number } else { f64::NAN }).collect(),
        )),
        Type::Int => values
            .map(|value| if let Value::Int(number) = value { Some(number) } else { None })
            .collect::<Option<_>>()
            .map(Elements::Int),
        Type::Bool => values
            .map(|value| if let Value::Bool(truth) = value { Some(truth) } else { None })
            .collect::<Option<_>>()
            .map(Elements::Bool),
        _ => values
            .map(|value| (!value.is_null()).then(|| value.to_string()))
            .collect::<Option<_>>()
            .map(Elements::Text),
    };
    elements.ok_or_else(|| {
        Error::Tensors(format!(
            "`{model}` gave null for `{name}`, which a tensor of {ty} can't hold; ask with POST /v1/models/{model}:predict"
        ))
    })
}

/// Those that are wanted, in the order that they are.
fn picked(told: Vec<Told>, wanted: &[String]) -> Result<Vec<Told>, Error> {
    if wanted.is_empty() {
        return Ok(told);
    }
    let pick = |name: &String| {
        let unknown = || {
            let known: Vec<&str> = told.iter().map(|told| told.name.as_str()).collect();
            Error::Tensors(format!("there is no output `{name}`; there are {}", known.join(", ")))
        };
        told.iter().find(|told| told.name == *name).cloned().ok_or_else(unknown)
    };
    wanted.iter().map(pick).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(parameters: &Json, expected: Result<Settings, &str>) {
        let got = Settings::read(parameters.as_object().unwrap()).map_err(|error| error.to_string());
        match (got, expected) {
            (Ok(got), Ok(expected)) => assert_eq!(got, expected),
            (Err(got), Err(expected)) => assert!(got.starts_with(expected), "{got}"),
            (got, expected) => panic!("{got:?}, not {expected:?}"),
        }
    }

    #[test]
    fn parameters_are_understood_or_refused() {
        check(&json!({}), Ok(Settings::default()));
        let settings = Settings {
            alias: Some("shadow".to_owned()),
            hydrate: Some(false),
            timeout: Some(Duration::from_millis(250)),
            binary_data_output: true,
        };
        let all = json!({"alias": "shadow", "hydrate": false, "timeout": 250_000, "binary_data_output": true, "content_type": "pd"});
        check(&all, Ok(settings));
        check(&json!({"timeout": 0}), Ok(Settings::default()));
        check(&json!({"sequence_id": 7}), Err("parameter `sequence_id` with 7 is not understood"));
        let long = json!({"hydrate": "n".repeat(2_000_000)});
        let error = Settings::read(long.as_object().unwrap()).unwrap_err().to_string();
        assert!(error.contains("nnn… is not understood") && error.len() < 300, "{error}");
        check(&json!({"hydrate": "no"}), Err("parameter `hydrate` with \"no\" is not understood"));
    }

    #[test]
    fn rows_of_versions_that_say_different_things_are_no_tensor() {
        let classes = |names: [&str; 2]| OutputType::Class(names.map(str::to_owned).into());
        let class = |names: [&str; 2]| Output::Class {
            label: names[0].to_owned(),
            probabilities: names.into_iter().map(str::to_owned).zip([0.75, 0.25]).collect(),
        };
        let row = |name: &str, output| Outputs::from([(name.to_owned(), output)]);
        let told = |ty, rows: &[Outputs]| tensors(rows, &[("late".to_owned(), ty)].into(), "flights");
        let (number, vector) = (|number| Output::Scalar(Value::Float(number)), Output::Vector);

        let both = [row("late", class(["no", "yes"])), row("late", class(["no", "yes"]))];
        let both = told(classes(["no", "yes"]), &both).unwrap();
        assert_eq!((both[0].shape(), both[1].shape()), (vec![2], vec![2, 2]));
        let cases = [
            (OutputType::Scalar(Type::Float), number(0.5), row("delay", number(0.5))),
            (OutputType::Scalar(Type::Float), number(0.5), row("late", Output::Scalar(Value::Int(1)))),
            (classes(["no", "yes"]), class(["no", "yes"]), row("late", class(["yes", "no"]))),
            (OutputType::Vector(2), vector(vec![0.5; 2]), row("late", vector(vec![0.5; 3]))),
            (OutputType::Vector(2), vector(vec![0.5; 2]), row("late", number(0.5))),
        ];
        for (ty, first, other) in cases {
            let error = told(ty, &[row("late", first), other]).unwrap_err().to_string();
            assert!(error.starts_with("a row of `flights` has no `late` as it is declared"), "{error}");
        }
    }

    #[test]
    fn a_version_is_a_number() {
        assert_eq!(which("", None).unwrap(), Which::Champion);
        assert_eq!(which("3", None).unwrap(), Which::Version(3));
        assert_eq!(which("", Some(&"shadow".to_owned())).unwrap(), Which::Alias("shadow".to_owned()));
        assert!(which("champion", None).unwrap_err().to_string().contains("not a number"));
        assert!(which("3", Some(&"shadow".to_owned())).is_err());
    }
}
