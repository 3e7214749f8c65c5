//! Starts versions over: as if nothing had been computed of them yet.
//!
//! For when rows that they were computed from are taken away. Their rows and positions go in the transaction that takes
//! those away; the update that follows takes what Redis has of them and fills them from what is left. A job that has begun
//! with the rows of before can't commit any more (see `Subject::removals`), and begins again.

use std::collections::BTreeSet;

use tidemill_catalog::{Catalog, ViewState, ViewVersion};
use tidemill_offline::{Lake, Table};
use tidemill_store::{NewJob, Tx};

use crate::{
    Error, dead_letters,
    wishes::{backfill_new, update_new},
};

/// Versions whose rows or tiles are computed from a source, near or far, inputs first. `versions`: of all views.
pub fn computed_from<'a>(versions: &'a [ViewVersion], source: &str) -> Vec<&'a ViewVersion> {
    let mut inputs_first = Vec::new();
    for version in versions.iter().filter(|version| version.state != ViewState::Dropped) {
        version.with_inputs(versions, &mut inputs_first);
    }
    let mut found: Vec<&ViewVersion> = Vec::new();
    for version in inputs_first {
        let is_input = |known: &&ViewVersion| version.plan.inputs.get(&known.view) == Some(&known.version);
        let reads = version.plan.source.as_ref().is_some_and(|it| it.name == source);
        if reads || found.iter().any(is_input) {
            found.push(version);
        }
    }
    // What is computed when it is asked has nothing to lose.
    found.retain(|version| version.plan.definition.kind().stored());
    found
}

/// The tables that [`reset`] empties: those of the versions, and the dead letters of views of which every version is among
/// them. `versions`: of all views.
pub fn tables_of(versions: &[ViewVersion], some: &[&ViewVersion]) -> Vec<Table> {
    let mut tables: Vec<Table> =
        some.iter().map(|version| Table::view(&version.view, version.version)).collect();
    let views: BTreeSet<&str> = some.iter().map(|version| version.view.as_str()).collect();
    let all = |view: &&str| {
        let mut of_view = versions.iter().filter(|it| it.view == *view && it.state != ViewState::Dropped);
        of_view
            .all(|it| some.iter().any(|version| (&version.view, version.version) == (&it.view, it.version)))
    };
    tables.extend(views.into_iter().filter(all).map(dead_letters::table));
    tables
}

/// Empties tables of the lake, and starts versions over, when `tx` commits. Returns the jobs that fill them. First of all in
/// its transaction, but for what is declared. `key` names the act.
///
/// # Errors
/// Postgres can't be reached.
pub async fn reset(
    (catalog, lake): (&Catalog, &Lake),
    tx: &mut Tx,
    tables: &[Table],
    versions: &[&ViewVersion],
    key: &str,
) -> Result<Vec<NewJob>, Error> {
    lake.truncate(tx.conn(), tables, key).await?;
    let mut fills = Vec::new();
    for version in versions {
        catalog.forget_position(tx, &version.view, version.version).await?;
        fills.push(match version.state {
            ViewState::Building => backfill_new(&version.view),
            ViewState::Current | ViewState::Retired | ViewState::Dropped => update_new(&version.view),
        });
    }
    Ok(fills)
}
