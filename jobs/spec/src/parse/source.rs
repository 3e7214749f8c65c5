//! Project, Entity, Source.

use indexmap::IndexMap;
use tidemill_core::DataClock;

use super::{csv, stream};
use crate::{
    Clock, Column, Entity, Epoch, Extra, Meta, Newest, Project, Source, Type,
    reserved::{OF_TABLES, taken},
    yaml::{
        Data,
        fields::{At, Fields, valid_name},
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
            Some(Type::List { .. }) => {
                at.error(209, format!("key `{key}` cannot be a list"))
                    .help("an entity is named by single values; give it a key for each");
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
    fields.later("retention");
    let columns = fields.need("columns");
    let extra = fields.get("extra").and_then(|at| at.meaning(&EXTRA)).unwrap_or_default();
    let csv = fields.get("csv").map(|at| csv::csv(&at)).unwrap_or_default();
    let stream = fields.get("stream").and_then(|at| stream::stream(&at));
    let columns = columns.map(|at| declared(&at, &name, extra)).unwrap_or_default();
    let event_time = fields.need("event_time").and_then(|at| at.name());
    let available_time = fields.get("available_time").map_or(event_time.clone(), |at| at.name());
    let created_time = fields.get("created_time").and_then(|at| at.name());
    let deleted = fields.get("deleted").and_then(|at| at.name());
    let (unique, newest) = fields.get("unique").and_then(|at| unique(&at)).unwrap_or_default();
    Source {
        name,
        meta,
        columns,
        event_time: event_time.unwrap_or_default(),
        available_time: available_time.unwrap_or_default(),
        created_time,
        deleted,
        unique,
        newest,
        extra,
        csv,
        stream,
    }
}

/// Columns alone, or with what decides which of their rows counts.
fn unique(at: &At<'_>) -> Option<(Vec<String>, Newest)> {
    let Data::Map(_) = at.node.data else { return Some((at.names()?, Newest::default())) };
    let mut fields = at.fields("`unique`")?;
    let keys = fields.need("keys").and_then(|at| at.names());
    let newest = fields.get("newest").map_or(Some(Newest::default()), |at| {
        Some(match at.name()?.as_str() {
            "valid_at" => Newest::ValidAt,
            "accepted" => Newest::Accepted,
            column => Newest::Column(column.to_owned()),
        })
    });
    fields.finish();
    Some((keys?, newest?))
}

const EXTRA: [(&str, Extra); 3] =
    [("ignore", Extra::Ignore), ("keep", Extra::Keep), ("reject", Extra::Reject)];
const EPOCHS: [(&str, Epoch); 3] =
    [("seconds", Epoch::Seconds), ("millis", Epoch::Millis), ("micros", Epoch::Micros)];

fn declared(at: &At<'_>, source: &str, extra: Extra) -> IndexMap<String, Column> {
    let mut columns = IndexMap::new();
    for (name, at) in at.entries().unwrap_or_default() {
        // Files may call a column as they like; only its name here is a name.
        let remedy = |ours: &str| {
            let ty = at.find(&["type"]).node.text().unwrap_or("string").to_owned();
            format!("give it a name here: `{ours}: {{ from: {}, type: {ty} }}`", quoted(&name))
        };
        if !valid_name(&name) {
            at.key_error(209, format!("`{name}` is not a name"), "").help(remedy(&name_like(&name)));
            continue;
        }
        let kept = extra == Extra::Keep && name == Extra::COLUMN;
        if OF_TABLES.contains(&name.as_str()) || kept {
            let why = if kept { ", which `extra: keep` adds" } else { "" };
            let message = format!("column `{name}` would clash with a column of Tidemill's own{why}");
            at.key_error(209, message, "").help(remedy(&format!("{source}_{name}")));
        }
        if let Some(column) = column(&at, &name) {
            columns.insert(name, column);
        }
    }
    names_differ_in_files(at, &columns);
    if extra == Extra::Keep {
        let kept = Column { nullable: true, ..Column::of(Type::String) };
        columns.entry(Extra::COLUMN.to_owned()).or_insert(kept);
    }
    columns
}

/// The name that a column of a file could have here: `Order ID`, `orderId` and `order-id` are `order_id`.
fn name_like(text: &str) -> String {
    let mut name = String::new();
    let mut before = ' ';
    for c in text.chars() {
        let word = c.is_ascii_uppercase() && (before.is_ascii_lowercase() || before.is_ascii_digit());
        if (word || !c.is_ascii_alphanumeric()) && !name.is_empty() && !name.ends_with('_') {
            name.push('_');
        }
        name.extend(c.is_ascii_alphanumeric().then(|| c.to_ascii_lowercase()));
        before = c;
    }
    let name = name.trim_end_matches('_');
    if name.starts_with(|first: char| first.is_ascii_lowercase()) {
        name.to_owned()
    } else {
        format!("column_{name}").trim_end_matches('_').to_owned()
    }
}

/// Text as YAML reads it in any place.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Of two columns from one place of the file nobody could say which is meant.
fn names_differ_in_files(at: &At<'_>, columns: &IndexMap<String, Column>) {
    for (place, (name, column)) in columns.iter().enumerate() {
        let Some(from) = &column.from else { continue };
        let others =
            columns.iter().enumerate().filter(|(other, (_, of))| *other < place || of.from.is_none());
        let mut others = others.filter(|(other, _)| *other != place).map(|(_, other)| other);
        let Some((other, _)) = others.find(|(other, of)| of.in_files(other) == from) else { continue };
        at.find(&[name, "from"])
            .error(209, format!("columns `{other}` and `{name}` would both be read from `{from}`"))
            .help(format!(
                "leave one of them out, or give each a `from` of its own; views may use `{other}` twice"
            ));
    }
}

fn column(at: &At<'_>, name: &str) -> Option<Column> {
    if let Data::Scalar { .. } = at.node.data {
        return at.ty().map(Column::of);
    }
    let mut fields = at.fields(format!("column `{name}`"))?;
    let ty = fields.need("type").and_then(|at| at.ty());
    let nullable = fields.get("nullable").and_then(|at| at.bool()).unwrap_or(false);
    let unit = fields.get("unit").and_then(|at| at.text());
    let bounds = [fields.get("min"), fields.get("max")];
    let known_at = fields.get("known_at").and_then(|at| at.name());
    let from = fields.get("from").and_then(|at| in_files(&at));
    let epoch = fields.get("epoch");
    fields.finish();
    let ty = ty?;
    if let Some(at) = epoch.as_ref().filter(|_| ty != Type::Timestamp) {
        at.key_error(209, format!("a {ty} column has no `epoch`"), "")
            .help("numbers that count time since 1970 are of type timestamp");
    }
    let epoch = epoch.and_then(|at| at.meaning(&EPOCHS));
    let [min, max] = bounds.map(|at| {
        let at = at?;
        if ty.is_number() {
            return at.value(ty);
        }
        at.key_error(209, format!("a {ty} column has no bounds"), "").help("`min` and `max` are for numbers");
        None
    });
    if let (Some(low), Some(high)) = (&min, &max)
        && low > high
    {
        at.key_error(209, format!("column `{name}` allows no value: min {low} is above max {high}"), "");
    }
    Some(Column { ty, nullable, unit, min, max, known_at, from, epoch })
}

/// A name that files use: any text, but for spaces around it, which headers are read without.
fn in_files(at: &At<'_>) -> Option<String> {
    let text = at.text()?;
    if text.is_empty() || text.trim() != text {
        at.error(209, format!("{} is not the name of a column in a file", quoted(&text)))
            .help("write it without spaces around it");
        return None;
    }
    Some(text)
}
