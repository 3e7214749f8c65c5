//! A database of its own for each test, cloned from a template that was migrated once.
//!
//! `NOTIFY` is per database, so tests can't wake each other. The server keeps nothing safe (no fsync): it dies with
//! the test process.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    process::Command,
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use sqlx::{Connection as _, Executor as _, PgConnection, PgPool, postgres::PgPoolOptions};
use tidemill_servers::{Durability, Port, Postgres, Wheels};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::servers;

/// An own database; dropped with this value.
#[derive(Debug)]
pub struct Database {
    /// Its address, as `DatabaseOptions` takes it.
    pub url: String,
    /// Connections to it, for what a test looks up itself.
    pub pool: PgPool,
    name: String,
    server: String,
}

/// A database cloned from the template `key`, which `migrate` fills when this process asks for it first.
pub async fn database(
    key: &str,
    migrate: impl AsyncFn(&Database) -> anyhow::Result<()>,
) -> anyhow::Result<Database> {
    static TEMPLATES: Mutex<BTreeSet<String>> = Mutex::const_new(BTreeSet::new());
    let server = tokio::task::spawn_blocking(shared_server).await??;
    let template = format!("template_{key}_{}", std::process::id());
    let mut templates = TEMPLATES.lock().await;
    if !templates.contains(&template) {
        admin(&server, &format!(r#"DROP DATABASE IF EXISTS "{template}" WITH (FORCE)"#)).await?;
        admin(&server, &format!(r#"CREATE DATABASE "{template}""#)).await?;
        let fresh = open(&server, template.clone())?;
        migrate(&fresh).await.with_context(|| format!("migrating the template `{key}`"))?;
        fresh.pool.close().await;
        // The template outlives this handle.
        std::mem::forget(fresh);
        templates.insert(template.clone());
    }
    // Cloning wants the template without connections, so clones are made one after the other.
    let name = format!("test_{}", Uuid::now_v7().simple());
    admin(&server, &format!(r#"CREATE DATABASE "{name}" TEMPLATE "{template}""#)).await?;
    drop(templates);
    open(&server, name)
}

fn open(server: &str, name: String) -> anyhow::Result<Database> {
    let url = format!("{server}/{name}");
    let pool = PgPoolOptions::new().max_connections(4).connect_lazy(&url)?;
    Ok(Database { url, pool, name, server: server.to_owned() })
}

async fn admin(server: &str, statement: &str) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(&format!("{server}/postgres")).await?;
    connection.execute(sqlx::AssertSqlSafe(statement)).await.with_context(|| statement.to_owned())?;
    connection.close().await?;
    Ok(())
}

impl Database {
    /// Returns when so many sessions of this database wait for a lock: a race test then knows where each side stands.
    ///
    /// # Panics
    /// When half a minute passes before.
    pub async fn until_blocked(&self, sessions: i64) {
        let waiting = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let blocked = async {
            while sqlx::query_scalar::<_, i64>(waiting)
                .fetch_one(&self.pool)
                .await
                .expect("the test's database")
                < sessions
            {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), blocked).await.expect("somebody waits for a lock");
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let statement = format!(r#"DROP DATABASE IF EXISTS "{}" WITH (FORCE)"#, self.name);
        let server = std::mem::take(&mut self.server);
        // The test's runtime is about to end: a thread of its own, which nobody waits for.
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(admin(&server, &statement))
        });
    }
}

fn shared_server() -> anyhow::Result<String> {
    static SERVER: OnceLock<Result<Server, String>> = OnceLock::new();
    if let Ok(url) = std::env::var("TIDEMILL_TEST_POSTGRES_URL") {
        return Ok(url.trim_end_matches('/').to_owned());
    }
    match SERVER.get_or_init(|| Server::start_with(Durability::None).map_err(|error| format!("{error:#}"))) {
        Ok(server) => Ok(server.url()),
        Err(error) => anyhow::bail!("{error}"),
    }
}

/// A Postgres server of its own, for tests that break it.
#[derive(Debug)]
pub struct Server {
    wheels: Wheels,
    folder: PathBuf,
    port: Port,
    url: String,
    durability: Durability,
    running: Option<Postgres>,
}

impl Server {
    /// Initialises and starts it; what was committed survives a crash.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with(Durability::Full)
    }

    fn start_with(durability: Durability) -> anyhow::Result<Self> {
        let (wheels, folder) = (servers::wheels()?, servers::folder("postgres")?);
        let mut server =
            Self { wheels, folder, port: Port::any()?, url: String::new(), durability, running: None };
        server.resume()?;
        Ok(server)
    }

    /// Its address without a database, as user `tidemill`.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// A fresh, empty database on it.
    pub async fn database(&self) -> anyhow::Result<Database> {
        let name = format!("test_{}", Uuid::now_v7().simple());
        admin(&self.url(), &format!(r#"CREATE DATABASE "{name}""#)).await?;
        open(&self.url(), name)
    }

    /// Ends it at once, as a crash would: what was committed comes back with [`resume`](Self::resume).
    pub fn crash(&mut self) -> anyhow::Result<()> {
        let postgres = self.running.take().context("it doesn't run")?;
        let pid = postgres.pid().to_string();
        ensure!(Command::new("kill").args(["-QUIT", &pid]).status()?.success(), "no server to crash");
        drop(postgres);
        Ok(())
    }

    /// Asks it to stop politely, which waits for every session to be given up; returns when it has ended.
    pub fn ask_to_stop(&mut self) -> anyhow::Result<()> {
        let mut postgres = self.running.take().context("it doesn't run")?;
        let pid = postgres.pid().to_string();
        ensure!(Command::new("kill").args(["-TERM", &pid]).status()?.success(), "no server to ask");
        let deadline = Instant::now() + Duration::from_secs(30);
        while !postgres.ended() {
            ensure!(Instant::now() < deadline, "sessions are still open after half a minute");
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Starts it again on the same port and data.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        let running = Postgres::start(&self.wheels, &self.folder, self.port.number(), self.durability)?;
        running.url().trim_end_matches("/tidemill").clone_into(&mut self.url);
        self.running = Some(running);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn table(database: &Database) -> anyhow::Result<()> {
        database.pool.execute("CREATE TABLE kept (id int)").await?;
        Ok(())
    }

    #[tokio::test]
    async fn each_database_is_a_clone_of_its_own() {
        let (first, second) = tokio::join!(database("table", table), database("table", table));
        let (first, second) = (first.unwrap(), second.unwrap());
        first.pool.execute("INSERT INTO kept VALUES (1)").await.unwrap();
        let rows: i64 =
            sqlx::query_scalar("SELECT count(*) FROM kept").fetch_one(&second.pool).await.unwrap();
        assert_eq!(rows, 0);
    }

    #[tokio::test]
    async fn a_crashed_server_comes_back_with_its_data() {
        let mut server = tokio::task::spawn_blocking(Server::start).await.unwrap().unwrap();
        let database = server.database().await.unwrap();
        table(&database).await.unwrap();
        server.crash().unwrap();
        server.resume().unwrap();
        let pool = PgPool::connect(&database.url).await.unwrap();
        pool.execute("SELECT * FROM kept").await.unwrap();
    }
}
