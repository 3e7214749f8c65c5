//! Label.

use std::time::Duration;

use super::{monitor::timezone, pipeline::cron, view::windowed};
use crate::{
    Aggregate, Ahead, Asked, Feature, Label, Meta, Population, Type,
    yaml::fields::{At, Fields, list},
};

/// The tail of a window that begins when a label is asked is that very moment.
const HOP: Duration = Duration::from_micros(1);

pub(super) fn label(fields: &mut Fields<'_>, name: String, meta: Meta) -> Option<Label> {
    let entity = fields.need("entity").and_then(|at| at.name());
    let source = fields.need("source").and_then(|at| at.name());
    let value = fields.need("value").and_then(|at| {
        let mut fields = at.fields("the label's value")?;
        let ty = fields.need("type").and_then(|at| at.ty());
        let sql = fields.need("sql").and_then(|at| at.text());
        fields.finish();
        Some((ty?, sql?))
    });
    let asked = asked(fields);
    let (ty, sql) = value.unwrap_or((Type::Bool, String::new()));
    let (entity, source) = (entity.unwrap_or_default(), source.unwrap_or_default());
    Some(Label { name, meta, entity, source, ty, sql, asked: asked? })
}

fn asked(fields: &mut Fields<'_>) -> Option<Asked> {
    let ahead = fields.present(&["population", "aggregates"]);
    if ahead.is_empty() {
        let asked_at = fields.need("asked_at").and_then(|at| at.text());
        return Some(Asked::OfRows(asked_at.unwrap_or_default()));
    }
    if let Some(at) = fields.get("asked_at") {
        at.key_error(212, "a label has either `asked_at`, or `aggregates` over a `population`", "")
            .help("the population says when the label is asked: leave `asked_at` out");
    }
    let population = fields.need("population").and_then(|at| population(&at));
    let aggregates_at = fields.need("aggregates")?;
    let aggregates = aggregates_at.named_entries()?;
    if aggregates.is_empty() {
        aggregates_at.error(209, "a label over a window has at least one aggregate");
    }
    let aggregates = aggregates.into_iter();
    let aggregates =
        aggregates.filter_map(|(name, at)| Some((name.clone(), aggregate(&at, &name)?))).collect();
    Some(Asked::Ahead(Ahead { population: population?, aggregates }))
}

/// `{ view, cron, timezone }` or `{ source, asked_at }`.
fn population(at: &At<'_>) -> Option<Population> {
    let mut fields = at.fields("the population")?;
    let given = fields.present(&["view", "source"]);
    let [one] = given.as_slice() else {
        at.key_error(212, "a population is either the entities of a `view`, or the rows of a `source`", "")
            .help(
                "write `{ view: VIEW, cron: \"0 0 * * *\" }`, or `{ source: SOURCE, asked_at: EXPRESSION }`",
            );
        return None;
    };
    let of = fields.get(one).and_then(|at| at.name());
    let population = if *one == "view" {
        let cron = fields.need("cron").and_then(|at| cron(&at));
        let timezone = fields.get("timezone").map_or(Some("UTC".to_owned()), |at| timezone(&at));
        of.zip(cron).zip(timezone).map(|((view, cron), timezone)| Population::Entities {
            view,
            cron,
            timezone,
        })
    } else {
        let asked_at = fields.need("asked_at").and_then(|at| at.text());
        of.zip(asked_at).map(|(source, asked_at)| Population::Rows { source, asked_at })
    };
    fields.finish();
    population
}

/// `{ type, AGGREGATE, where, within }`.
fn aggregate(at: &At<'_>, name: &str) -> Option<Feature> {
    let mut fields = at.fields(format!("aggregate `{name}`"))?;
    let ty = fields.need("type").and_then(|at| at.ty());
    let given = fields.present(&Aggregate::WORDS);
    let rule = match given.as_slice() {
        [one] => windowed(&mut fields, one, within),
        [] => {
            at.key_error(204, format!("aggregate `{name}` does not say what is computed"), "")
                .help(format!("one of {}", list(&Aggregate::WORDS)));
            None
        }
        [_, second, ..] => {
            let more = fields.get(second)?;
            more.key_error(212, format!("aggregate `{name}` is more than one: {}", list(&given)), "")
                .help("leave out all but one");
            None
        }
    };
    if rule.is_none() {
        // That one of them is wrong was said; the others are known all the same.
        for known in Aggregate::WORDS.into_iter().chain(["where", "within", "p", "n"]) {
            drop(fields.get(known));
        }
    }
    fields.finish();
    Some(Feature { ty: ty?, rule: rule?, default: None })
}

/// A window that begins at the moment of asking.
fn within(fields: &mut Fields<'_>) -> Option<(Duration, Duration)> {
    Some((fields.need("within")?.duration()?, HOP))
}
