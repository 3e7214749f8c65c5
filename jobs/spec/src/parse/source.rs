//! Project, Entity, Source.

use indexmap::IndexMap;
use tidemill_core::DataClock;

use crate::{
    Clock, Column, Entity, Meta, Project, Source, Type,
    check::names::{OF_TABLES, taken},
    yaml::{
        Data,
        fields::{At, Fields},
    },
};

pub(super) fn project(fields: &mut Fields<'_>, name: String, meta: Meta) -> Project {
    let clock = fields.get("clock").and_then(|at| clock(&at)).unwrap_or_default();
    // Folders are chosen before anything is parsed; here the field is only checked.
    if let Some(at) = fields.get("overlays") {
        at.names();
    }
    Project { name, meta, clock }
}

fn clock(at: &At<'_>) -> Option<Clock> {
    if let Data::Scalar { .. } = at.node.data {
        return at.choice(&["wall"]).map(|_| Clock::Wall);
    }
    let mut fields = at.fields("the clock")?;
    let replay = fields.need("replay");
    fields.finish();
    let mut fields = replay?.fields("the replay clock")?;
    let start = fields.need("start").and_then(|at| at.time());
    let speed = fields.get("speed").map_or(Some(1.0), |at| at.float_within(0.0, DataClock::SPEED_MAX));
    fields.finish();
    Some(Clock::Replay { start: start?, speed: speed? })
}

pub(super) fn entity(fields: &mut Fields<'_>, name: String, meta: Meta) -> Option<Entity> {
    let at = fields.need("keys")?;
    let mut keys = IndexMap::new();
    for (key, at) in at.named_entries()? {
        if let Some(whose) = taken(&key) {
            at.key_error(209, format!("key `{key}` would clash: {whose} has a column of that name"), "")
                .help(format!("rename it, e.g. `{name}_{key}`"));
        }
        match at.ty() {
            Some(Type::Float) => {
                at.error(209, format!("key `{key}` cannot be a float"))
                    .help("floats are not compared for equality");
            }
            Some(ty) => drop(keys.insert(key, ty)),
            None => {}
        }
    }
    if at.entries()?.is_empty() {
        at.error(209, "an entity has at least one key");
    }
    Some(Entity { name, meta, keys })
}

pub(super) fn source(fields: &mut Fields<'_>, name: String, meta: Meta) -> Source {
    fields.later("stream");
    fields.later("retention");
    let columns = fields.need("columns").and_then(|at| at.named_entries());
    let event_time = fields.need("event_time").and_then(|at| at.name());
    let available_time = fields.get("available_time").map_or(event_time.clone(), |at| at.name());
    let created_time = fields.get("created_time").and_then(|at| at.name());
    let deleted = fields.get("deleted").and_then(|at| at.name());
    let unique = fields.get("unique").and_then(|at| at.names()).unwrap_or_default();
    let columns = columns
        .unwrap_or_default()
        .into_iter()
        .filter_map(|(name, at)| Some((name.clone(), column(&at, &name)?)))
        .collect();
    Source {
        name,
        meta,
        columns,
        event_time: event_time.unwrap_or_default(),
        available_time: available_time.unwrap_or_default(),
        created_time,
        deleted,
        unique,
    }
}

fn column(at: &At<'_>, name: &str) -> Option<Column> {
    if OF_TABLES.contains(&name) {
        at.key_error(209, format!("column `{name}` would clash with a column of Tidemill's own"), "")
            .help("rename it in the file and here");
    }
    if let Data::Scalar { .. } = at.node.data {
        let ty = at.ty()?;
        return Some(Column { ty, nullable: false, unit: None, min: None, max: None, known_at: None });
    }
    let mut fields = at.fields(format!("column `{name}`"))?;
    let ty = fields.need("type").and_then(|at| at.ty());
    let nullable = fields.get("nullable").and_then(|at| at.bool()).unwrap_or(false);
    let unit = fields.get("unit").and_then(|at| at.text());
    let bounds = [fields.get("min"), fields.get("max")];
    let known_at = fields.get("known_at").and_then(|at| at.name());
    fields.finish();
    let ty = ty?;
    let [min, max] = bounds.map(|at| {
        let at = at?;
        if matches!(ty, Type::Int | Type::Float) {
            return at.value(ty);
        }
        at.key_error(209, format!("a {ty} column has no bounds"), "")
            .help("`min` and `max` are for int and float");
        None
    });
    if let (Some(low), Some(high)) = (&min, &max)
        && low > high
    {
        at.key_error(209, format!("column `{name}` allows no value: min {low} is above max {high}"), "");
    }
    Some(Column { ty, nullable, unit, min, max, known_at })
}
