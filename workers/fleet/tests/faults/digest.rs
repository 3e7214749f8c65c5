//! Everything that a run leaves behind, as text: all tables of catalog and lake, the rows they lead to, Redis, files,
//! deliveries, and what of the engine people see. Ids, real times and what follows from them are masked.

use std::{fmt::Write as _, fs};

use sqlx::Row as _;
use tidemill_blobs::BlobRef;
use tidemill_offline::{Read, Table};

use crate::world::World;

/// Steps with what they returned, and the jobs that wait.
const ENGINE: &str = "
    SELECT 'step ' || to_jsonb(step)::text FROM (SELECT pipeline, name, step.state, outputs, fault, params, metrics
        FROM engine.step JOIN engine.run ON run.id = run_id WHERE step.state <> 'cancelled') AS step
    UNION ALL SELECT 'waiting ' || to_jsonb(job)::text FROM (SELECT kind, key, concurrency_key FROM engine.job) AS job
    UNION ALL SELECT 'checkpoint ' || value::text FROM engine.checkpoint";
/// Numbers that a rolled back transaction may skip; a file's name and size, which follow from its content: that may
/// hold an id or real time, and its rows are compared.
const UNTOLD: &str = "'{id,table_id,path,size_bytes}'::text[]";
/// Every table of the catalog and the lake.
const TABLES: &str = "
    SELECT table_schema || '.' || table_name FROM information_schema.tables
    WHERE table_schema IN ('catalog', 'lake') AND table_name <> '_sqlx_migrations' ORDER BY 1";

pub(crate) async fn digest(world: &World) -> anyhow::Result<String> {
    let pool = &world.database.pool;
    let mut lines = Vec::new();
    let tables: Vec<String> = sqlx::query_scalar(TABLES).fetch_all(pool).await?;
    let dump =
        |table: &String| format!("SELECT '{table} ' || (to_jsonb(t) - {UNTOLD})::text FROM {table} AS t");
    let dumps = tables.iter().map(dump);
    for statement in dumps.chain([ENGINE.to_owned()]) {
        for row in sqlx::query(sqlx::AssertSqlSafe(statement)).fetch_all(pool).await? {
            lines.push(row.try_get::<String, _>(0)?);
        }
    }
    let head = world.stores.lake.head().await?;
    let names: Vec<String> = sqlx::query_scalar("SELECT name FROM lake.lake_table").fetch_all(pool).await?;
    for name in names {
        let rows = world.stores.lake.read(&Read::all(Table::from(name.clone()), head)).await?;
        for row in tidemill_rows::json_rows(&rows)? {
            lines.push(format!("row of {name} {}", serde_json::Value::Object(row)));
        }
    }
    // Publications are numbered by a sequence.
    let numbered = |line: &String| line.starts_with(":live:3 order ");
    lines.extend(
        world
            .redis
            .dump()
            .await?
            .into_iter()
            .filter(|line| !numbered(line))
            .map(|line| format!("redis {line}")),
    );
    for file in fs::read_dir(world.folder.path())?.collect::<Result<Vec<_>, _>>()? {
        if file.file_type()?.is_file() {
            lines.push(format!(
                "file {} {}",
                file.file_name().display(),
                BlobRef::of(&fs::read(file.path())?)
            ));
        }
    }
    lines.extend(world.webhook.delivered().into_iter().map(|line| format!("delivered {line}")));

    let here = world.folder.path().display().to_string();
    let mut lines: Vec<String> = lines.iter().map(|line| mask(&line.replace(&here, "HERE"))).collect();
    lines.sort();
    Ok(lines.iter().fold(String::new(), |mut text, line| {
        // Writing to a String never fails.
        let _ = writeln!(text, "{line}");
        text
    }))
}

/// Ids, and instants of real time: data of these tests is of 2024.
fn mask(line: &str) -> String {
    let part = |c: char| c.is_ascii_alphanumeric() || "_-:.+".contains(c);
    let mut masked = String::with_capacity(line.len());
    let mut rest = line;
    while !rest.is_empty() {
        let end = rest.find(|c| !part(c)).unwrap_or(rest.len());
        let (token, after) = rest.split_at(end);
        masked.push_str(match token {
            id if names_something(id) => "ID",
            time if ("2026".."2100").contains(&time) && time.len() > 10 && time.contains('T') => "TIME",
            other => other,
        });
        let others = after.find(part).unwrap_or(after.len());
        masked.push_str(&after[..others]);
        rest = &after[others..];
    }
    masked
}

/// A UUID, bare or behind a prefix.
fn names_something(token: &str) -> bool {
    let bare = token.split_once('_').map_or(token, |(_, bare)| bare);
    let bare = bare.split_once('.').map_or(bare, |(bare, _)| bare);
    let hex = bare.chars().filter(char::is_ascii_hexdigit).count();
    hex == 32 && bare.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
}
