//! From keys to features: at most two pipelined round trips to Redis for all entities of a request.

use std::collections::HashMap;

use indexmap::IndexMap;
use tidemill_core::Time;
use tidemill_online::{LiveView, Online, OnlineView, Read, Status, ViewFeatures, values};
use tidemill_rows::Row;
use tidemill_spec::{Hydration, HydrationRead, KeyOrigin, Value};

use crate::Error;

/// What is known of one entity.
#[derive(Debug)]
pub(crate) struct Hydrated {
    /// Keys, features and what the caller gave, by column.
    pub(crate) row: Row,
    /// Each view read, in order.
    pub(crate) views: Vec<ViewFeatures>,
    /// Features in the vector that no value was found for.
    pub(crate) defaulted: Vec<String>,
    /// Why not all of that is known: Redis holds bytes for it that can't be read.
    pub(crate) unreadable: Option<tidemill_online::Error>,
}

/// What one entity has so far, by view.
#[derive(Default)]
struct Found<'v> {
    views: HashMap<&'v str, ViewFeatures>,
    unreadable: Option<tidemill_online::Error>,
}

/// Reads everything that a hydration wants for some entities, as of the data clock's `now`; `views`: what it may name. A
/// value that can't be read costs its own entity only.
pub(crate) async fn hydrate(
    online: &Online,
    hydration: &Hydration,
    views: &IndexMap<String, LiveView>,
    keys: &[Row],
    now: Time,
) -> Result<Vec<Hydrated>, Error> {
    let mut found: Vec<Found<'_>> = keys.iter().map(|_| Found::default()).collect();
    let mut order = Vec::new();
    for round in &hydration.rounds {
        let views = round.iter().map(|read| view(views, read)).collect::<Result<Vec<_>, _>>()?;
        let asked: Vec<Vec<Vec<Value>>> = keys
            .iter()
            .zip(&found)
            .map(|(keys, found)| round.iter().map(|read| key_of(read, keys, &found.views)).collect())
            .collect();
        let reads: Vec<Read<'_>> = asked
            .iter()
            .flat_map(|keys| views.iter().zip(keys).map(|(view, key)| Read { view: &view.view, key }))
            .collect();
        let bytes = online.read(&reads).await?;
        check_not_lost(online, &views, &bytes).await?;
        let mut bytes = bytes.into_iter();
        for found in &mut found {
            for (read, view) in round.iter().zip(&views) {
                let bytes = bytes.next().flatten();
                match values(&view.view, bytes.as_deref(), now) {
                    // What the key would have come from is not known: nothing was found only for want of it.
                    _ if found.unreadable.is_some() => {}
                    Ok(features) => drop(found.views.insert(&read.view, features)),
                    Err(error) => found.unreadable = Some(error),
                }
            }
        }
        order.extend(round);
    }
    Ok(keys.iter().zip(found).map(|(keys, found)| assemble(&order, keys, found)).collect())
}

fn view<'a>(views: &'a IndexMap<String, LiveView>, read: &HydrationRead) -> Result<&'a LiveView, Error> {
    views.get(&read.view).ok_or_else(|| Error::ViewNotOnline { view: read.view.clone() })
}

/// An entity without a value is unknown, unless Redis has lost the values of the whole view: then nothing is known of any.
/// `bytes` are those of all entities, `views` in turn for each. Costs a round trip only where a value is absent.
async fn check_not_lost(
    online: &Online,
    views: &[&LiveView],
    bytes: &[Option<Vec<u8>>],
) -> Result<(), Error> {
    let absent = |place: usize| bytes.iter().skip(place).step_by(views.len()).any(Option::is_none);
    let suspects: Vec<&OnlineView> = views
        .iter()
        .enumerate()
        .filter(|(place, view)| view.filled && absent(*place))
        .map(|(_, view)| &view.view)
        .collect();
    let held = online.holds(&suspects).await?;
    match suspects.iter().zip(held).find(|(_, held)| !held) {
        Some((view, _)) => Err(Error::ValuesLost { view: view.name().to_owned(), version: view.version() }),
        None => Ok(()),
    }
}

/// A view's key, from the caller's keys and views read before. A null in it finds nothing.
fn key_of(read: &HydrationRead, keys: &Row, found: &HashMap<&str, ViewFeatures>) -> Vec<Value> {
    let value = |origin: &KeyOrigin| match origin {
        KeyOrigin::Request(name) => keys.get(name).cloned(),
        KeyOrigin::Feature { view, feature } => {
            found.get(view.as_str()).and_then(|view| view.values.get(feature)).cloned()
        }
    };
    read.keys.iter().map(|origin| value(origin).unwrap_or(Value::Null)).collect()
}

fn assemble(order: &[&HydrationRead], keys: &Row, found: Found<'_>) -> Hydrated {
    let Found { views: mut found, unreadable } = found;
    let mut row: IndexMap<String, Value> = keys.clone();
    let (mut views, mut defaulted) = (Vec::new(), Vec::new());
    for read in order {
        let Some(view) = found.remove(read.view.as_str()) else { continue };
        let nothing = matches!(view.status, Status::Absent | Status::Expired);
        for feature in &read.features {
            let value = view.values.get(feature).cloned().unwrap_or(Value::Null);
            if view.defaulted.contains(feature) || (nothing && value.is_null()) {
                defaulted.push(feature.clone());
            }
            row.insert(feature.clone(), value);
        }
        views.push(view);
    }
    Hydrated { row, views, defaulted, unreadable }
}
