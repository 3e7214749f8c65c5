//! Connections and transactions.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use serde::Deserialize;
use sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, PgPool, Postgres, Transaction,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{
    Error,
    sessions::{Asking, Sessions},
};

/// Each crate that keeps tables has a schema of its own; their names don't clash, so statements leave it out.
const SEARCH_PATH: &str = "engine,catalog,lake";

/// How to reach Postgres.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseOptions {
    /// `postgres://user:password@host:port/database`
    pub url: String,
    /// Connections of this process at most.
    #[serde(default = "default_connections")]
    pub max_connections: u32,
}

fn default_connections() -> u32 {
    16
}

fn pool_of(connections: u32) -> PgPoolOptions {
    PgPoolOptions::new().max_connections(connections).acquire_timeout(Duration::from_secs(10))
}

impl DatabaseOptions {
    /// A database with the default number of connections.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), max_connections: default_connections() }
    }
}

/// The engine's state. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) pool: PgPool,
    /// A wake-up is about to be sent.
    pub(crate) wake_coming: Arc<AtomicBool>,
    pub(crate) sessions: Sessions,
    _asking: Arc<Asking>,
}

impl Store {
    /// Connects lazily: a database that is down is an error of the first call, not of this one.
    ///
    /// # Errors
    /// When the URL is not one.
    pub fn connect(options: &DatabaseOptions) -> Result<Self, Error> {
        let connect: PgConnectOptions = options.url.parse()?;
        let connect = connect.application_name("tidemill").options([("search_path", SEARCH_PATH)]);
        let sessions = Sessions::default();
        let pool = sessions.pool(pool_of(options.max_connections), connect);
        let asking = sessions.ask(pool.clone());
        Ok(Self { pool, wake_coming: Arc::default(), sessions, _asking: asking })
    }

    /// The same database over connections of its own, at most so many: for a runtime that must not wait for others.
    #[must_use]
    pub fn apart(&self, connections: u32) -> Self {
        let pool = self.sessions.pool(pool_of(connections), (*self.pool.connect_options()).clone());
        Self { pool, wake_coming: Arc::default(), ..self.clone() }
    }

    /// Creates or upgrades the schema `engine`. Safe to repeat and to run from several processes at once.
    pub async fn migrate(&self) -> Result<(), Error> {
        self.migrate_schema("engine", &sqlx::migrate!("./migrations")).await?;
        // What a reader keeps from being made now is made later: nobody's start waits for it.
        self.make_history().await.map(drop)
    }

    /// Runs the migrations of a crate that keeps tables beside the engine's, inside a schema of its own.
    pub async fn migrate_schema(&self, schema: &'static str, migrator: &Migrator) -> Result<(), Error> {
        // The connection's search path is changed, so it doesn't go back to the pool.
        let mut connection = self.pool.acquire().await?.detach();
        let statements = format!("CREATE SCHEMA IF NOT EXISTS {schema}; SET search_path = {schema}");
        // Processes that migrate at once wait here for each other; the lock ends with the connection.
        sqlx::query("SELECT pg_advisory_lock(7433)").execute(&mut connection).await?;
        sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut connection).await?;
        migrator.run_direct(None, &mut connection, false).await?;
        Ok(connection.close().await?)
    }

    /// The connections, for crates that keep tables of their own beside the engine's.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Opens a transaction.
    pub async fn begin(&self) -> Result<Tx, Error> {
        Ok(Tx { inner: self.pool.begin().await? })
    }
}

/// A transaction: what is written through it becomes visible together, or not at all. Dropped: rolled back.
#[derive(Debug)]
pub struct Tx {
    inner: Transaction<'static, Postgres>,
}

impl Tx {
    /// The connection that statements run on.
    pub fn conn(&mut self) -> &mut PgConnection {
        &mut self.inner
    }

    /// Makes it durable.
    pub async fn commit(self) -> Result<(), Error> {
        Ok(self.inner.commit().await?)
    }
}
