//! Declared objects as they are stored: every version ever applied, and the ones in force.

use serde::Serialize;
use sqlx::{PgExecutor, types::Json};
use tidemill_core::Time;
use tidemill_spec::{Definition, ObjectKind, ObjectRef, Objects};
use tidemill_store::Tx;

use crate::{Catalog, Error};

/// One version of a declared object.
#[derive(Clone, Debug, Serialize)]
pub struct ObjectVersion {
    /// Counted from 1.
    pub version: i32,
    /// The object as JSON.
    pub definition: serde_json::Value,
    /// Hash of the definition.
    pub hash: String,
    /// When it was first applied, real time.
    pub created_at: Time,
}

/// Kind, name, version, definition, hash.
type CurrentRow = (String, String, i32, Json<serde_json::Value>, String);

impl Catalog {
    /// The objects in force. Empty before the first apply.
    pub async fn objects(&self) -> Result<Objects, Error> {
        current(self.pool()).await
    }

    /// The objects in force, read by `tx`: whoever has a transaction open reads through it, for a second connection may
    /// never come while all who have one wait for theirs.
    pub async fn objects_in(&self, tx: &mut Tx) -> Result<Objects, Error> {
        current(tx.conn()).await
    }

    /// Keeps what is declared in force until `tx` ends: an apply waits for it. First of all in a transaction.
    pub async fn hold_objects(&self, tx: &mut Tx) -> Result<(), Error> {
        sqlx::query("SELECT pg_advisory_xact_lock_shared(hashtextextended('catalog.apply', 0))")
            .execute(tx.conn())
            .await?;
        Ok(())
    }

    /// The same, and nobody else holds it meanwhile: no upload is published, no view declared. First of all in a
    /// transaction.
    pub async fn lock_objects(&self, tx: &mut Tx) -> Result<(), Error> {
        sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('catalog.apply', 0))")
            .execute(tx.conn())
            .await?;
        Ok(())
    }

    /// The version of an object that is in force, read by `tx`.
    pub async fn object_version_in(&self, tx: &mut Tx, object: &ObjectRef) -> Result<Option<i32>, Error> {
        let statement =
            "SELECT version FROM catalog.object WHERE kind = $1 AND name = $2 AND retired_at IS NULL";
        let row: Option<(i32,)> = sqlx::query_as(statement)
            .bind(object.kind.as_str())
            .bind(&object.name)
            .fetch_optional(tx.conn())
            .await?;
        Ok(row.map(|(version,)| version))
    }

    /// Every version of an object, newest first; also of one that is no longer declared.
    pub async fn object_versions(&self, object: &ObjectRef) -> Result<Vec<ObjectVersion>, Error> {
        let rows: Vec<(i32, Json<serde_json::Value>, String, Time)> =
            sqlx::query_as(include_str!("../queries/object/versions.sql"))
                .bind(object.kind.as_str())
                .bind(&object.name)
                .fetch_all(self.pool())
                .await?;
        let version = |(version, Json(definition), hash, created_at)| ObjectVersion {
            version,
            definition,
            hash,
            created_at,
        };
        Ok(rows.into_iter().map(version).collect())
    }

    /// Hash of the project's code in force; none before the first apply.
    pub async fn code_hash(&self) -> Result<Option<String>, Error> {
        code_hash(self.pool()).await
    }

    /// [`Self::code_hash`], read by `tx`.
    pub async fn code_hash_in(&self, tx: &mut Tx) -> Result<Option<String>, Error> {
        code_hash(tx.conn()).await
    }
}

async fn code_hash(executor: impl PgExecutor<'_>) -> Result<Option<String>, Error> {
    Ok(sqlx::query_scalar("SELECT hash FROM catalog.code_current").fetch_optional(executor).await?)
}

async fn current(executor: impl PgExecutor<'_>) -> Result<Objects, Error> {
    let rows: Vec<CurrentRow> =
        sqlx::query_as(include_str!("../queries/object/current.sql")).fetch_all(executor).await?;
    let definitions = rows.into_iter().map(definition).collect::<Result<Vec<_>, Error>>()?;
    Objects::from_definitions(definitions).map_err(Error::inconsistent)
}

fn definition((kind, name, _, Json(body), hash): CurrentRow) -> Result<Definition, Error> {
    Ok(Definition { object: ObjectRef::new(object_kind(&kind)?, name), body, hash })
}

pub(crate) fn object_kind(word: &str) -> Result<ObjectKind, Error> {
    serde_json::from_value(word.into()).map_err(Error::inconsistent)
}
