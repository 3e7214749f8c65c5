//! The catalog's place in Postgres.

use serde::Serialize;
use sqlx::PgPool;
use tidemill_store::Store;

use crate::Error;

/// Declared objects and what became of them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Catalog {
    store: Store,
}

impl Catalog {
    /// The catalog beside the engine's tables.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Creates or upgrades the schema `catalog`. Safe to repeat and to run from several processes at once.
    pub async fn migrate(&self) -> Result<(), Error> {
        Ok(self.store.migrate_schema("catalog", &sqlx::migrate!("./migrations")).await?)
    }

    /// The engine's state, for what is written in one transaction with the catalog.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Its connections, for reads.
    pub fn pool(&self) -> &PgPool {
        self.store.pool()
    }
}

/// JSON as text, to be cast in the statement: the driver's own JSON goes through `jsonb`, which would lose the order
/// of keys, columns and features.
pub(crate) fn ordered_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("declared objects are plain data with string keys")
}
