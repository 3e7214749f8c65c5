//! Model.

use indexmap::IndexMap;

use super::{output::outputs, view::read_as};
use crate::{
    Feature, Input, InputView, Meta, Model, PredictionLog, Rule, Type,
    yaml::{
        Data,
        fields::{At, Fields},
    },
};

const RUNTIMES: [&str; 5] = ["lightgbm", "xgboost", "onnx", "sklearn", "python"];
const LATER_RUNTIMES: [&str; 3] = ["torch", "transformers", "remote"];

pub(super) fn model(fields: &mut Fields<'_>, name: String, meta: Meta) -> Model {
    for later in ["canary", "shadow", "rollback", "staleness"] {
        fields.later(later);
    }
    let runtime = fields.need("runtime").and_then(|at| runtime(&at));
    let entity = fields.need("entity").and_then(|at| at.name());
    let inputs = fields.need("inputs").and_then(|at| {
        let items = at.list()?;
        if items.is_empty() {
            at.error(209, "a model has at least one input");
        }
        Some(items.iter().filter_map(input).collect())
    });
    let (request, nullable) = fields.get("request").and_then(|at| request(&at)).unwrap_or_default();
    let on_demand = fields.get("on_demand").and_then(|at| at.named_entries()).map(|entries| {
        entries.into_iter().filter_map(|(name, at)| Some((name.clone(), computed(&at, &name)?))).collect()
    });
    let outputs = fields.need("outputs").and_then(|at| outputs(&at));
    let on_missing = fields.get("on_missing").and_then(|at| at.choice(&["allow", "fail"]));
    let (processes, processes_max) = fields.get("scale").and_then(|at| scale(&at)).unwrap_or((2, None));
    let log = fields.get("log").and_then(|at| log(&at)).unwrap_or_default();
    Model {
        name,
        meta,
        runtime: runtime.unwrap_or_default(),
        entity: entity.unwrap_or_default(),
        inputs: inputs.unwrap_or_default(),
        request,
        nullable,
        on_demand: on_demand.unwrap_or_default(),
        outputs: outputs.unwrap_or_default(),
        fail_on_missing: on_missing == Some("fail"),
        processes,
        processes_max,
        log,
    }
}

/// `off`, or `{ sample, mask, keep }`.
fn log(at: &At<'_>) -> Option<PredictionLog> {
    if let Data::Scalar { .. } = at.node.data {
        return at.choice(&["off"]).map(|_| PredictionLog::off());
    }
    let mut fields = at.fields("the prediction log")?;
    let sample = fields.get("sample").and_then(|at| {
        let share = at.float_within(0.0, 1.0)?;
        if share == 0.0 {
            at.error(209, "`sample` is 0, which logs nothing").help("write `log: off`");
            return None;
        }
        Some(share)
    });
    let mask = fields.get("mask").and_then(|at| at.names()).unwrap_or_default();
    let keep = fields.get("keep").and_then(|at| at.duration());
    fields.finish();
    let whole = PredictionLog::default();
    Some(PredictionLog { sample: sample.unwrap_or(whole.sample), mask, keep: keep.unwrap_or(whole.keep) })
}

fn runtime(at: &At<'_>) -> Option<String> {
    let text = at.text()?;
    if LATER_RUNTIMES.contains(&text.as_str()) {
        at.error(210, format!("runtime `{text}` is not supported yet"));
        return None;
    }
    if !RUNTIMES.contains(&text.as_str()) {
        at.unknown(209, format!("unknown runtime `{text}`"), &text, RUNTIMES);
        return None;
    }
    Some(text)
}

/// A view's name (all its features; filled in by the check, which knows them), `view: [features]`,
/// `{ view, as, keys, features }`, or `keys: [columns]`.
fn input(at: &At<'_>) -> Option<Input> {
    if let Data::Scalar { .. } = at.node.data {
        return Some(of_view(InputView::named(at.name()?), Vec::new()));
    }
    if at.node.get("view").is_some_and(|entry| entry.value.text().is_some()) {
        let mut fields = at.fields("the input")?;
        let read = read_as(&mut fields);
        let features = fields.get("features").and_then(|at| at.names()).unwrap_or_default();
        fields.finish();
        return read.map(|read| of_view(read, features));
    }
    let entries = at.entries()?;
    let [(name, names)] = entries.as_slice() else {
        at.error(
            208,
            "an input is a view's name, `VIEW: [features]`, `{ view: VIEW, as: ROLE, keys: { … } }` or `keys: [columns]`",
        );
        return None;
    };
    let listed = names.names()?;
    if listed.is_empty() {
        names.error(209, format!("`{name}` lists nothing"));
    }
    Some(if name == "keys" { Input::Keys(listed) } else { of_view(InputView::named(name), listed) })
}

fn of_view(InputView { view, role, keys }: InputView, features: Vec<String>) -> Input {
    Input::View { view, features, role, keys }
}

/// `{ type, sql, default }`.
fn computed(at: &At<'_>, name: &str) -> Option<Feature> {
    let mut fields = at.fields(format!("feature `{name}`"))?;
    let ty = fields.need("type").and_then(|at| at.ty());
    let sql = fields.need("sql").and_then(|at| at.text());
    let default = fields.get("default").zip(ty).and_then(|(at, ty)| at.value(ty));
    fields.finish();
    Some(Feature { ty: ty?, rule: Rule::Sql(sql?), default })
}

/// The columns of a request, and which of them may be null: each a type, or `{ type, nullable }`.
fn request(at: &At<'_>) -> Option<(IndexMap<String, Type>, Vec<String>)> {
    let (mut types, mut nullable) = (IndexMap::new(), Vec::new());
    for (name, at) in at.named_entries()? {
        let (ty, may_be_null) = match at.node.data {
            Data::Scalar { .. } => (at.ty(), false),
            _ => {
                let Some(mut fields) = at.fields(format!("request column `{name}`")) else { continue };
                let ty = fields.need("type").and_then(|at| at.ty());
                let may_be_null = fields.get("nullable").and_then(|at| at.bool()).unwrap_or(false);
                fields.finish();
                (ty, may_be_null)
            }
        };
        nullable.extend(may_be_null.then(|| name.clone()));
        types.extend(ty.map(|ty| (name, ty)));
    }
    Some((types, nullable))
}

/// `{ min, max }`: how many processes a model has, and how many it may have.
fn scale(at: &At<'_>) -> Option<(u32, Option<u32>)> {
    let mut fields = at.fields("the scale")?;
    let (min_at, max_at) = (fields.get("min"), fields.get("max"));
    fields.finish();
    let count = |at: &Option<At<'_>>, least| u32::try_from(at.as_ref()?.int(least, 64)?).ok();
    let (min, max) = (count(&min_at, 0), count(&max_at, 1));
    if let (Some(0), Some(at), None) = (min, &min_at, &max_at) {
        at.error(209, "`min: 0` needs a `max`").help("scale: { min: 0, max: 4 }");
    }
    if let (Some(min), Some(max), Some(at)) = (min, max, &max_at)
        && max < min
    {
        at.error(209, format!("`max` is {max}, less than `min`, {min}"));
    }
    Some((min.unwrap_or_else(|| max.unwrap_or(2).min(2)), max))
}
