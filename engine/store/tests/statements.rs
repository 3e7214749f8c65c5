//! Every statement is one the migrated schema understands, and the hot ones stay on their indexes.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

mod world;

use std::{fs, path::Path};

use sqlx::{Executor as _, PgPool, Row as _, SqlSafeStr as _};
use world::world;

fn statements() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for noun in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("queries")).unwrap() {
        for file in fs::read_dir(noun.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            found.push((path.display().to_string(), fs::read_to_string(path).unwrap()));
        }
    }
    found
}

#[tokio::test]
async fn every_statement_can_be_prepared() {
    let world = world().await;
    let statements = statements();
    assert!(statements.len() > 15);
    let mut connection = world.store.pool().acquire().await.unwrap();
    for (path, sql) in statements {
        assert!(sql.starts_with("-- "), "{path} begins with what it does");
        let prepared = (&mut *connection).prepare(sqlx::AssertSqlSafe(sql).into_sql_str()).await;
        prepared.unwrap_or_else(|error| panic!("{path}: {error}"));
    }
}

/// 100,000 jobs that wait, a hundred of them of one concurrency key, and a hundred that run.
const BACKLOG: &str = "
        INSERT INTO run (id, pipeline, single, context, trigger, state)
        SELECT ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, 'a', true, 'null', 'job', 'running'
        FROM generate_series(1, 100000) AS n;
        INSERT INTO step (run_id, name, position, kind, args, policy, pending_deps, state)
        SELECT id, 'a', 0, 'a', '{}', '{}', 0, 'ready' FROM run;
        INSERT INTO job (id, run_id, step, kind, priority, run_at, concurrency_key, max_crashes)
        SELECT id, id, 'a', 'a', 0, now(), CASE WHEN id::text LIKE '%00' THEN 'k' || right(id::text, 5) END, 3 FROM run;
        INSERT INTO checkpoint (run_id, step, value, attempt) SELECT id, 'a', '{}', 1 FROM run;
        UPDATE job SET lease_token = next_lease_token(), lease_until = now() WHERE id::text LIKE '%500'";
const CLAIM: &str = "'{a}', 500, '00000000-0000-0000-0000-000000000001', 10";

#[tokio::test]
async fn a_claim_walks_the_queue_in_order_whatever_the_statistics_say() {
    let world = world().await;
    let pool = world.store.pool();
    sqlx::raw_sql(BACKLOG).execute(pool).await.unwrap();
    for _ in 0..2 {
        let plan = plan(pool, "job/claim", CLAIM, "force_custom_plan").await;
        let walks = |line: &String| line.contains("Index Scan using job_waiting");
        assert!(
            plan.iter().any(walks) && !plan.iter().any(|line| line.contains("Sort Key: job")),
            "{plan:#?}"
        );
        sqlx::raw_sql("ANALYZE").execute(pool).await.unwrap();
    }
}

#[tokio::test]
async fn hot_statements_do_not_scan_tables_with_a_long_backlog() {
    let world = world().await;
    let pool = world.store.pool();
    sqlx::raw_sql(BACKLOG).execute(pool).await.unwrap();
    sqlx::raw_sql("ANALYZE").execute(pool).await.unwrap();
    let list = |item: &dyn Fn(u32) -> String| {
        let items: Vec<_> = (1..=500).map(item).collect();
        format!("'{{{}}}'", items.join(","))
    };
    let ids = list(&|n| format!("00000000-0000-0000-0000-{:012}", n * 200 + 77));
    let (numbers, names) = (list(&|n| n.to_string()), list(&|_| "a".to_owned()));
    for (name, args) in [
        ("job/claim", CLAIM.to_owned()),
        ("job/renew", format!("{ids}, {numbers}, 10")),
        ("job/finish", format!("{ids}, {numbers}, {names}, NULL")),
        ("job/postpone", format!("{ids}, {numbers}, NULL, NULL, {names}, NULL")),
        ("job/work", format!("{ids}, {names}")),
        ("job/waiting", "'{x,y}'".to_owned()),
        ("job/rescue", format!("500, 3, {ids}")),
        ("job/poison", "500, 3, NULL".to_owned()),
        ("job/release", format!("{ids}, {numbers}")),
        ("job/lock_of_run", "'00000000-0000-0000-0000-000000000077'".to_owned()),
        ("run/lock", ids.clone()),
        ("run/close", ids.clone()),
        ("step/failed_last", "'k', 'a'".to_owned()),
        ("step/settle", format!("{ids}, {names}, {names}, NULL, NULL, NULL")),
    ] {
        for mode in ["force_custom_plan", "force_generic_plan"] {
            let plan = plan(pool, name, &args, mode).await;
            let scans = |line: &String| line.contains("Seq Scan on") && !line.contains("Seq Scan on attempt");
            assert!(!plan.iter().any(scans), "{name} under {mode} scans {plan:#?}");
        }
    }
}

/// The plan of a statement, line by line; of a claim under its own settings.
async fn plan(pool: &PgPool, name: &str, args: &str, mode: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("queries").join(format!("{name}.sql"));
    let sql = fs::read_to_string(path).unwrap();
    let mut tx = pool.begin().await.unwrap();
    if name == "job/claim" {
        sqlx::raw_sql(include_str!("../queries/job/claim_settings.sql")).execute(&mut *tx).await.unwrap();
    }
    let statements = format!("SET LOCAL plan_cache_mode = {mode}; PREPARE hot AS {sql}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(&mut *tx).await.unwrap();
    let explain = format!("EXPLAIN EXECUTE hot({args})");
    let plan = sqlx::raw_sql(sqlx::AssertSqlSafe(explain)).fetch_all(&mut *tx).await.unwrap();
    sqlx::raw_sql("DEALLOCATE hot").execute(&mut *tx).await.unwrap();
    plan.iter().map(|row| row.get(0)).collect()
}
