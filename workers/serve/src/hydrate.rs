//! From keys to the columns of a vector, for all entities of a request.

use std::time::Duration;

use indexmap::IndexMap;
use tidemill_core::Time;
use tidemill_expressions::Evaluator;
use tidemill_online::{LiveView, Online, Status, ViewFeatures};
use tidemill_rows::Row;
use tidemill_spec::{Hydration, HydrationRead, Value};

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

/// Reads everything that a hydration wants for some entities, as of the data clock's `now`; `views`: what it may name. A
/// value that can't be read costs its own entity only.
pub(crate) async fn hydrate(
    online: &Online,
    evaluator: &Evaluator,
    hydration: &Hydration,
    views: &IndexMap<String, LiveView>,
    keys: &[Row],
    now: (Time, Duration),
) -> Result<Vec<Hydrated>, Error> {
    let reads: Vec<&HydrationRead> = hydration.rounds.iter().flatten().collect();
    let found = online.hydrate(evaluator, &reads, views, keys, now).await?;
    Ok(keys.iter().zip(found).map(|(keys, found)| assemble(&reads, keys, found)).collect())
}

fn assemble(reads: &[&HydrationRead], keys: &Row, found: tidemill_online::Hydrated) -> Hydrated {
    let mut row: IndexMap<String, Value> = keys.clone();
    let (mut views, mut defaulted) = (Vec::new(), Vec::new());
    for (read, view) in reads.iter().zip(found.views) {
        let Some(view) = view else { continue };
        let nothing = matches!(view.status, Status::Absent | Status::Expired);
        for feature in &read.features {
            let value = view.values.get(feature).cloned().unwrap_or(Value::Null);
            if view.defaulted.contains(feature) || (nothing && value.is_null()) {
                defaulted.push(read.column(feature));
            }
            row.insert(read.column(feature), value);
        }
        views.push(view);
    }
    Hydrated { row, views, defaulted, unreadable: found.unreadable }
}
