//! Repeats the failed steps of a run, with the project's code of now or of then.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use tidemill_blobs::Blobs;
use tidemill_catalog::{Catalog, CodeArchive};
use tidemill_core::RunId;
use tidemill_spec::{ObjectKind, ObjectRef};

use crate::Error;

/// Which project code the repeated steps run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// What is in force now: a mistake in it that was mended is mended for them.
    #[default]
    Current,
    /// What was in force when the run started, or was retried last.
    Pinned,
}

/// What a retry repeats, and with what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Retried {
    /// The run.
    pub id: RunId,
    /// Steps that start again; none when nothing had failed. What waits for them follows.
    pub steps: Vec<String>,
    /// The code that they run.
    pub code: CodeUsed,
    /// The definition that they have.
    pub definition: DefinitionUsed,
}

/// The code of repeated steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CodeUsed {
    /// As asked for.
    pub used: Code,
    /// Files that are not the same then and now; none where they are, or where they can't be read any more.
    pub changed: Vec<String>,
}

/// The pipeline's definition of repeated steps: a run stays with the one it was started with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DefinitionUsed {
    /// Its version.
    pub used: i32,
    /// The version in force now; none for what no pipeline declares.
    pub in_force: Option<i32>,
}

/// Repeats the failed and cancelled steps of a run. Completed steps, their outputs and checkpoints stay. Call
/// [`Store::wake`](tidemill_store::Store::wake) afterwards.
///
/// # Errors
/// There is no such run, or the database can't be reached.
pub async fn retry_run(catalog: &Catalog, blobs: &Blobs, run: RunId, code: Code) -> Result<Retried, Error> {
    let store = catalog.store();
    let before = store.run(run).await?.run;
    let then = before.context.get("code").and_then(Json::as_str);
    let now = catalog.code_hash().await?;
    let newer = now.filter(|now| then.is_some_and(|then| then != now));
    let replaced = match (&newer, code) {
        (Some(now), Code::Current) => Map::from_iter([("code".to_owned(), Json::from(now.as_str()))]),
        _ => Map::new(),
    };
    let steps = store.retry_run(run, &replaced).await?;
    let changed = match (then, &newer) {
        (Some(then), Some(now)) => changed(blobs, then, now).await,
        _ => Vec::new(),
    };
    let pipeline = ObjectRef::new(ObjectKind::Pipeline, &before.pipeline);
    let mut tx = store.begin().await?;
    let in_force =
        catalog.object_version_in(&mut tx, &pipeline).await?.filter(|_| before.context.is_object());
    let definition = DefinitionUsed { used: before.version, in_force };
    Ok(Retried { id: run, steps, code: CodeUsed { used: code, changed }, definition })
}

/// Said where it can be: the retry stands, also where a state of the code can't be read.
async fn changed(blobs: &Blobs, then: &str, now: &str) -> Vec<String> {
    let (then, now) = (CodeArchive::load(blobs, then), CodeArchive::load(blobs, now));
    match futures::try_join!(then, now) {
        Ok((then, now)) => now.changed_since(&then),
        Err(_) => Vec::new(),
    }
}
