//! The REST interface as clients meet it: a real server over HTTP, on real Postgres and Redis.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

use std::{collections::BTreeSet, net::TcpListener};

use serde_json::{Value, json};
use tidemill_stores::Stores;
use tidemill_testkit::{Engine, engine, redis};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_util::sync::{CancellationToken, DropGuard};

const PROJECT: &str = "
apiVersion: tidemill/v1
kind: Project
name: shop
clock: { replay: { start: \"2024-06-01T00:00:00Z\", speed: 0 } }
---
apiVersion: tidemill/v1
kind: Entity
name: customer
keys: { customer_id: int }
---
apiVersion: tidemill/v1
kind: Source
name: orders
columns: { customer_id: int, ordered_at: timestamp, amount: float }
event_time: ordered_at
---
apiVersion: tidemill/v1
kind: FeatureView
name: last_order
entity: customer
source: orders
features: { amount: float }
online: true
---
apiVersion: tidemill/v1
kind: Pipeline
name: tidy
schedule: { cron: \"30 3 * * *\" }
params: { days: 1 }
steps:
  one: { uses: sql, with: { query: SELECT 1 } }
";

const MODEL: &str = "
---
apiVersion: tidemill/v1
kind: Model
name: late
runtime: lightgbm
entity: customer
inputs:
  - last_order: [amount]
outputs: { probability: float }
";

const MONITOR: &str = "
---
apiVersion: tidemill/v1
kind: Monitor
name: sane
target: { source: orders }
every: 1d
reference: { from: \"2024-01-01T00:00:00Z\", to: \"2024-01-16T00:00:00Z\" }
checks:
  - { null_rate: amount, max: 0.02 }
";

/// A control plane of its own, with nothing applied yet.
struct World {
    address: String,
    engine: Engine,
    _objects: tempfile::TempDir,
    _running: JoinHandle<anyhow::Result<()>>,
    _stop: DropGuard,
}

impl World {
    async fn new() -> Self {
        Self::with(redis::prefix().await.unwrap()).await
    }

    async fn with(redis: redis::Prefix) -> Self {
        let engine = engine().await.unwrap();
        let objects = tempfile::tempdir().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let options: tidemill_api::Options = serde_json::from_value(json!({
            // One connection: a request that needs a second while it has a transaction open gets none here, and under load
            // anywhere.
            "database": { "url": engine.database.url, "max_connections": 1 },
            "redis": { "url": redis.url, "prefix": redis.prefix },
            "blobs": { "url": format!("file://{}", objects.path().display()) },
            "server": { "listen": address, "serve": "http://predictions:80" },
        }))
        .unwrap();
        Stores::open(&options.stores).unwrap().migrate().await.unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn(tidemill_api::run(options, stop.clone()));
        while TcpStream::connect(&address).await.is_err() {
            assert!(!running.is_finished(), "the server ended");
            tokio::task::yield_now().await;
        }
        Self { address, engine, _objects: objects, _running: running, _stop: stop.drop_guard() }
    }

    async fn call(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_else(|_| Value::from(body)))
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.call("GET", path, "", "").await
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.call("POST", path, "content-type: application/json\r\n", &body.to_string()).await
    }

    async fn keyed(&self, key: &str, path: &str, body: &Value) -> (u16, Value) {
        let headers = format!("content-type: application/json\r\nidempotency-key: {key}\r\n");
        self.call("POST", path, &headers, &body.to_string()).await
    }

    async fn ok(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.post(path, body).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    async fn apply(&self, yaml: &str) -> (u16, Value) {
        self.post("/v1/apply", &json!({ "files": { "tidemill.yaml": yaml } })).await
    }
}

#[tokio::test]
async fn runs_that_are_started_at_once_all_start() {
    let world = World::new().await;
    world.apply(PROJECT).await;
    let body = json!({ "pipeline": "tidy" });
    let starts = futures::future::join_all((0..64).map(|_| world.ok("/v1/runs", &body)));
    let status = world.get("/v1/status");
    let (started, (status, _)) = tokio::join!(starts, status);
    let ids: BTreeSet<String> = started.iter().map(|run| run["id"].to_string()).collect();
    assert_eq!((ids.len(), status), (64, 200));
}

#[tokio::test]
async fn no_write_needs_a_second_connection() {
    let world = World::new().await;
    world.apply(&format!("{PROJECT}{MONITOR}")).await;
    for (path, body) in [
        ("/v1/clock", json!({ "time": "2024-06-02T00:00:00Z" })),
        ("/v1/schedules/tidy/pause", json!({})),
        ("/v1/schedules/tidy/resume", json!({})),
        ("/v1/sources/orders/replay", json!({})),
        ("/v1/features/last_order/backfill", json!({})),
        ("/v1/features/last_order/recompute", json!({ "from": "2024-01-01T00:00:00Z" })),
        ("/v1/features/last_order/recompute", json!({ "dead_letters": true })),
        ("/v1/features/last_order/rebuild-online", json!({})),
        ("/v1/monitors/sane/run", json!({ "window": "2024-05" })),
    ] {
        world.ok(path, &body).await;
    }
    let run = world.ok("/v1/runs", &json!({ "pipeline": "tidy" })).await;
    for verb in ["cancel", "retry"] {
        world.ok(&format!("/v1/runs/{}/{verb}", run["id"].as_str().unwrap()), &json!({})).await;
    }
}

#[tokio::test]
async fn a_leak_is_counted_over_two_moments_of_a_source() {
    let world = World::new().await;
    world.apply(PROJECT).await;
    let path = "/v1/sources/orders/seen-early?used_at=ordered_at&known_at=ordered_at";
    let nothing = json!({ "rows": 0, "early": 0, "median_seconds": null });
    assert_eq!(world.get(path).await, (200, nothing));
    let (status, error) = world.get("/v1/sources/orders/seen-early?used_at=amount&known_at=ordered_at").await;
    assert_eq!((status, &error["error"]["code"]), (422, &json!("TM0303")));
    assert_eq!(world.get("/v1/sources/none/seen-early?used_at=a&known_at=b").await.0, 404);
}

#[tokio::test]
async fn clients_are_told_where_the_other_roles_are() {
    let world = World::new().await;
    let told = json!({ "gateway": "http://127.0.0.1:7434", "serve": "http://predictions:80" });
    assert_eq!(world.get("/v1/places").await, (200, told));
}

#[tokio::test]
async fn the_status_says_which_store_is_away_and_goes_on() {
    let mut server = redis::Server::start().unwrap();
    let world = World::with(redis::Prefix { url: server.url(), prefix: "test".to_owned() }).await;
    world.apply(PROJECT).await;
    let (status, page) = world.get("/v1/status").await;
    assert_eq!((status, &page["away"]), (200, &json!([])));
    server.stop();
    let (status, page) = world.get("/v1/status").await;
    assert_eq!((status, &page["away"][0]["store"]), (200, &json!("redis")), "{page}");
    assert_eq!(page["away"].as_array().unwrap().len(), 1, "the objects are there");
}

#[tokio::test]
async fn a_project_is_applied_once_and_every_list_has_items() {
    let world = World::new().await;
    let (status, applied) = world.apply(PROJECT).await;
    assert_eq!(status, 200, "{applied}");
    let rows = applied["items"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["change"] == "added"));
    assert_eq!(rows[1]["object"], "entity/customer");
    let (_, again) = world.apply(PROJECT).await;
    assert!(again["items"].as_array().unwrap().iter().all(|row| row["change"] == "unchanged"), "{again}");

    for noun in [
        "runs",
        "schedules",
        "sources",
        "features",
        "datasets",
        "models",
        "monitors",
        "alerts",
        "queue",
        "workers",
    ] {
        let (status, list) = world.get(&format!("/v1/{noun}")).await;
        assert!(status == 200 && list["items"].is_array(), "{noun}: {list}");
    }
    for one in ["status", "clock", "sources/orders", "features/last_order", "lineage?object=last_order"] {
        let (status, page) = world.get(&format!("/v1/{one}")).await;
        assert!(status == 200 && page.is_object(), "{one}: {page}");
    }
}

#[tokio::test]
async fn another_project_does_not_take_the_place_of_the_one_in_force_by_mistake() {
    let world = World::new().await;
    world.apply(PROJECT).await;
    let other = PROJECT.replace("name: shop", "name: other");
    let (status, refused) = world.apply(&other).await;
    assert_eq!((status, &refused["error"]["code"]), (422, &json!("TM0107")));
    let body = json!({ "files": { "tidemill.yaml": other }, "replace": true });
    assert_eq!(world.post("/v1/apply", &body).await.0, 200);
    let (_, status) = world.get("/v1/status").await;
    assert_eq!(status["project"], "other");
}

#[tokio::test]
async fn every_failure_has_a_status_a_code_and_a_remedy() {
    let world = World::new().await;
    world.apply(PROJECT).await;
    let none = json!({});
    let cases = [
        ("GET", "/v1/sources/order", &none, 404, "TM0502", "did you mean `orders`?"),
        ("GET", "/v1/features/last_ordr", &none, 404, "TM0611", "did you mean `last_order`?"),
        ("GET", "/v1/models/m", &none, 404, "TM0801", "tidemill apply"),
        ("GET", "/v1/monitors/m", &none, 404, "TM0901", "tidemill apply"),
        ("GET", "/v1/lineage?object=view/last_ordr", &none, 404, "TM0108", "view/last_order"),
        ("GET", "/v1/lineage?object=last_order&direction=sideways", &none, 400, "TM0116", ""),
        ("GET", "/v1/runs/nonsense", &none, 422, "TM0110", "tidemill runs list"),
        ("GET", "/v1/runs?state=broken", &none, 404, "TM0112", "failed"),
        ("GET", "/v1/runs?since=yesterday", &none, 400, "TM0112", "24h"),
        ("GET", "/v1/runs?stat=failed", &none, 400, "TM0116", ""),
        ("GET", "/v1/datasets/nonsense", &none, 422, "TM0114", "tidemill datasets list"),
        ("GET", "/v1/nothing", &none, 404, "TM0117", "/v1/NOUNS"),
        ("GET", "/v1/apply", &none, 405, "TM0117", ""),
        ("POST", "/v1/runs", &json!({ "pipeline": "tidi" }), 404, "TM0320", "did you mean `tidy`?"),
        ("POST", "/v1/runs", &json!({ "pipelin": "tidy" }), 400, "TM0116", ""),
        ("POST", "/v1/runs", &json!({ "pipeline": "tidy", "params": { "day": 1 } }), 422, "TM0321", "days"),
        (
            "POST",
            "/v1/runs",
            &json!({ "pipeline": "tidy", "date": "+262142-12-31" }),
            422,
            "TM0112",
            "years 1 to 9999",
        ),
        ("POST", "/v1/clock", &json!({ "time": "soon" }), 422, "TM0112", "2013-06-01"),
        ("POST", "/v1/clock", &json!({ "time": "2024-05-01" }), 422, "TM0113", "forward"),
        ("POST", "/v1/clock", &json!({ "time": "9999-12-31" }), 422, "TM0113", "check the year"),
        ("POST", "/v1/schedules/tid/pause", &none, 404, "TM0111", "pipeline/tidy"),
        (
            "POST",
            "/v1/features/get",
            &json!({ "entity": { "customer_id": "x" } }),
            422,
            "TM0616",
            "customer_id: int",
        ),
        (
            "POST",
            "/v1/features/get",
            &json!({ "entity": { "id": 1 } }),
            422,
            "TM0616",
            "customer (customer_id)",
        ),
        ("POST", "/v1/apply", &json!({ "files": { "../x": "" } }), 422, "TM0105", ""),
        (
            "POST",
            "/v1/apply",
            &json!({ "files": { "tidemill.yaml": "kind: Project" } }),
            422,
            "TM0106",
            "check",
        ),
    ];
    for (method, path, body, status, code, hint) in cases {
        let (got, reply) = match method {
            "GET" => world.get(path).await,
            _ => world.post(path, body).await,
        };
        let error = &reply["error"];
        assert_eq!((got, error["code"].as_str()), (status, Some(code)), "{method} {path} {body}: {reply}");
        assert!(error["hint"].as_str().unwrap_or_default().contains(hint), "{method} {path} {body}: {reply}");
    }
    let (status, reply) = world.call("POST", "/v1/runs", "content-type: application/json\r\n", "{").await;
    assert_eq!((status, &reply["error"]["code"]), (400, &json!("TM0116")));
    // Of two values of one key nobody says which is meant.
    let twice = r#"{"pipeline": "tidy", "params": {"days": 1, "days": 2}}"#;
    let (status, reply) = world.call("POST", "/v1/runs", "content-type: application/json\r\n", twice).await;
    assert_eq!((status, &reply["error"]["code"]), (400, &json!("TM0116")));
    assert_eq!(
        reply["error"]["message"],
        "the request can't be read: `days` is there twice at line 1 column 49"
    );
    let (status, reply) = world.call("POST", "/v1/runs", "", "{}").await;
    assert_eq!((status, &reply["error"]["code"]), (415, &json!("TM0116")));
}

#[tokio::test]
async fn a_write_with_a_key_is_done_once() {
    let world = World::new().await;
    world.apply(PROJECT).await;
    let body = json!({ "pipeline": "tidy", "date": "2024-05-20" });
    let (first, second) =
        (world.keyed("k", "/v1/runs", &body).await, world.keyed("k", "/v1/runs", &body).await);
    assert_eq!((first.0, &first), (200, &second));
    let other = json!({ "pipeline": "tidy", "date": "2024-05-21" });
    let (status, reply) = world.keyed("k", "/v1/runs", &other).await;
    assert_eq!((status, &reply["error"]["code"]), (422, &json!("TM0118")));
    assert_ne!(world.post("/v1/runs", &body).await.1["id"], first.1["id"], "without a key it is a new run");

    // What was refused may be asked for again under the same key.
    let wrong = json!({ "pipeline": "tidi" });
    assert_eq!(world.keyed("w", "/v1/runs", &wrong).await.0, 404);
    assert_eq!(world.keyed("w", "/v1/runs", &wrong).await.0, 404);
    assert_eq!(world.keyed("w", "/v1/runs", &body).await.0, 200);
    let long = "x".repeat(201);
    assert_eq!(world.keyed(&long, "/v1/runs", &body).await.1["error"]["code"], "TM0118");
}

#[tokio::test]
async fn a_schedule_is_held_under_its_full_or_its_short_name() {
    let world = World::new().await;
    world.apply(PROJECT).await;
    for name in ["tidy", "pipeline%2Ftidy"] {
        let (status, held) = world.post(&format!("/v1/schedules/{name}/pause"), &json!({})).await;
        let held = (&held["name"], &held["paused"], &held["next_at"]);
        assert_eq!(
            (status, held),
            (200, (&json!("pipeline/tidy"), &json!(true), &json!("2024-06-01T03:30:00Z")))
        );
        world.post(&format!("/v1/schedules/{name}/resume"), &json!({})).await;
    }
    let (_, schedules) = world.get("/v1/schedules").await;
    assert_eq!(schedules["items"][0]["paused"], false);
}

#[tokio::test]
async fn a_plan_says_what_an_apply_would_do_changes_nothing_and_is_what_is_applied() {
    let world = World::new().await;
    world.apply(PROJECT).await;
    let changed = PROJECT
        .replace("features: { amount: float }", "features: { amount: { type: float, sql: amount * 2 } }");
    let body = |yaml: &str| json!({ "files": { "tidemill.yaml": yaml } });
    let plan = world.ok("/v1/plan", &body(&changed)).await;
    let [item] = &plan["items"].as_array().unwrap()[..] else { panic!("{plan}") };
    assert_eq!((&item["object"], &item["building"]), (&json!("view/last_order"), &json!(2)));
    assert_eq!(item["rows"]["differences"], json!(["`amount`: another rule"]));
    assert_eq!((&item["rows"]["from"], &item["rows"]["rows"]), (&json!(1), &json!(0)));
    assert_eq!(world.ok("/v1/plan", &body(&changed)).await, plan, "nothing was changed by looking");
    assert_eq!(world.ok("/v1/plan", &body(PROJECT)).await["items"], json!([]));

    let id = &plan["id"].as_str().unwrap()[..4];
    let with = |yaml: &str| json!({ "files": { "tidemill.yaml": yaml }, "plan": id });
    let (status, refused) = world.post("/v1/apply", &with(PROJECT)).await;
    assert_eq!((status, &refused["error"]["code"]), (422, &json!("TM0121")));
    let applied = world.ok("/v1/apply", &with(&changed)).await;
    assert!(applied["items"].as_array().unwrap().iter().any(|row| row["building"] == 2));
    // What is in force is another now.
    let (_, refused) = world.post("/v1/apply", &with(&changed)).await;
    assert_eq!(refused["error"]["code"], "TM0121");
}

#[tokio::test]
async fn a_question_in_sql_is_answered_from_the_tables_that_it_names_and_changes_nothing() {
    let world = World::new().await;
    world.apply(PROJECT).await;
    let ask = async |query: &str| world.post("/v1/sql", &json!({ "query": query })).await;
    let (status, answer) = ask("SELECT 9007199254740993 AS big, count(*) AS n FROM source.orders").await;
    assert_eq!(
        (status, &answer["items"]),
        (200, &json!([{ "big": 9_007_199_254_740_993_i64, "n": 0 }])),
        "{answer}"
    );
    assert_eq!(answer["columns"][0], json!({ "name": "big", "type": "int" }));
    let (_, cut) = world.post("/v1/sql", &json!({ "query": "SELECT * FROM range(50)", "limit": 3 })).await;
    assert_eq!((cut["items"].as_array().unwrap().len(), &cut["rows"]), (3, &json!(50)));
    for (query, code) in [
        ("SELECT * FROM source.nothing", "TM0325"),
        ("SELEC 1", "TM0380"),
        ("SELECT * FROM read_csv('/etc/passwd')", "TM0601"),
    ] {
        let (status, refused) = ask(query).await;
        assert_eq!((status, &refused["error"]["code"]), (422, &json!(code)), "{query}: {refused}");
    }
    for query in ["COPY (SELECT 1) TO 'x.csv'", "ATTACH 'x.db'", "SET threads = 1"] {
        let (status, refused) = ask(query).await;
        assert_eq!(status, 422, "{query}: {refused}");
    }
    let (status, csv) = world
        .call(
            "POST",
            "/v1/sql/file?format=csv",
            "content-type: application/json\r\n",
            "{\"query\": \"SELECT 1 AS one\"}",
        )
        .await;
    assert!(status == 200 && csv.as_str().unwrap().contains("one\n1\n"), "{csv}");
}

#[tokio::test]
async fn an_apply_and_a_retry_name_the_python_files_that_changed() {
    let world = World::new().await;
    let files = |helper: &str| json!({ "files": { "tidemill.yaml": PROJECT, "train.py": "import helper", "helper.py": helper } });
    let (_, first) = world.post("/v1/apply", &files("x = 1")).await;
    assert_eq!(first["code"]["changed"], json!([]), "there was no code before: {first}");
    let (_, run) = world.post("/v1/runs", &json!({ "pipeline": "tidy" })).await;
    let (_, again) = world.post("/v1/apply", &files("x = 2")).await;
    assert_eq!(again["code"]["changed"], json!(["helper.py"]));
    assert!(again["items"].as_array().unwrap().iter().all(|row| row["change"] == "unchanged"), "{again}");
    let (_, same) = world.post("/v1/apply", &files("x = 2")).await;
    assert_eq!(same["code"]["changed"], json!([]));

    let run = run["id"].as_str().unwrap();
    world.post(&format!("/v1/runs/{run}/cancel"), &json!({})).await;
    let retry = async |query: &str| world.post(&format!("/v1/runs/{run}/retry{query}"), &json!({})).await;
    let (_, pinned) = retry("?code=pinned").await;
    assert_eq!(pinned["code"], json!({ "used": "pinned", "changed": ["helper.py"] }));
    world.post(&format!("/v1/runs/{run}/cancel"), &json!({})).await;
    let (_, current) = retry("").await;
    assert_eq!(current["code"], json!({ "used": "current", "changed": ["helper.py"] }));
    assert_eq!(current["definition"], json!({ "used": 1, "in_force": 1 }));
    assert_eq!(retry("?code=latest").await.0, 400);
}

#[tokio::test]
async fn a_resume_says_what_it_fires_of_the_ticks_that_passed_before_it_does() {
    let world = World::new().await;
    world.apply(PROJECT).await;
    world.post("/v1/schedules/tidy/pause", &json!({})).await;
    assert_eq!(world.post("/v1/clock", &json!({ "time": "2024-06-04T00:00:00Z" })).await.0, 200);
    let fires = json!(["2024-06-03T03:30:00Z"]);
    let (_, would) = world.post("/v1/schedules/tidy/resume?dry_run=true", &json!({})).await;
    assert_eq!((&would["fires"], &would["left_out"], &would["paused"]), (&fires, &json!(2), &json!(true)));
    assert_eq!(world.get("/v1/schedules").await.1["items"][0]["paused"], true);
    assert_eq!(world.get("/v1/runs?pipeline=tidy").await.1["items"], json!([]));

    let (_, done) = world.post("/v1/schedules/tidy/resume", &json!({})).await;
    assert_eq!((&done["fires"], &done["next_at"]), (&fires, &json!("2024-06-04T03:30:00Z")));
    let fired = async || world.get("/v1/runs?pipeline=tidy").await.1["items"].as_array().cloned().unwrap();
    let runs = until(fired, |runs: &Vec<Value>| !runs.is_empty()).await;
    assert_eq!((runs.len(), &runs[0]["logical_time"]), (1, &fires[0]));
}

#[tokio::test]
async fn a_resume_can_let_the_ticks_that_passed_go() {
    let world = World::new().await;
    world.apply(PROJECT).await;
    world.post("/v1/schedules/tidy/pause", &json!({})).await;
    world.post("/v1/clock", &json!({ "time": "2024-06-04T00:00:00Z" })).await;
    let (_, done) = world.post("/v1/schedules/tidy/resume?skip_missed=true", &json!({})).await;
    assert_eq!((&done["fires"], &done["left_out"]), (&json!([]), &json!(3)));
    world.post("/v1/clock", &json!({ "time": "2024-06-04T04:00:00Z" })).await;
    let fired = async || world.get("/v1/runs?pipeline=tidy").await.1["items"].as_array().cloned().unwrap();
    let runs = until(fired, |runs: &Vec<Value>| !runs.is_empty()).await;
    assert_eq!((runs.len(), &runs[0]["logical_time"]), (1, &json!("2024-06-04T03:30:00Z")));
}

#[tokio::test]
async fn a_model_that_the_project_has_no_more_is_listed_as_such_and_can_be_taken_out() {
    let world = World::new().await;
    assert_eq!(world.apply(&format!("{PROJECT}{MODEL}")).await.0, 200);
    let store = &world.engine.store;
    let catalog = tidemill_catalog::Catalog::new(store.clone());
    let version = serde_json::from_value(json!({
        "model": "late", "version": 0, "artifact": "artifacts/1", "runtime": "lightgbm", "keys": {},
        "hydration": { "rounds": [], "columns": {} }, "request": {}, "outputs": { "probability": "float" },
        "processes": 1, "view_versions": {},
    }));
    let mut tx = store.begin().await.unwrap();
    let number = catalog.insert_model_version(&mut tx, "test", &version.unwrap()).await.unwrap();
    catalog.promote_model(&mut tx, "late", number, "champion").await.unwrap();
    tx.commit().await.unwrap();
    let listed = async || {
        let (_, list) = world.get("/v1/models").await;
        let row = |row: &Value| [row["name"].clone(), row["declared"].clone(), row["champion"].clone()];
        list["items"].as_array().unwrap().iter().map(row).collect::<Vec<_>>()
    };
    assert_eq!(listed().await, [[json!("late"), json!(true), json!(1)]]);

    world.apply(PROJECT).await;
    assert_eq!(listed().await, [[json!("late"), json!(false), json!(1)]]);
    let (status, page) = world.get("/v1/models/late").await;
    assert_eq!(
        (status, &page["declared"], &page["outputs"]["probability"]),
        (200, &json!(false), &json!("float"))
    );
    assert_eq!(world.get("/v1/models/later").await.0, 404);
    world.ok("/v1/models/late/rollback", &json!({ "alias": "champion", "remove": true })).await;
    assert_eq!(listed().await, [[json!("late"), json!(false), Value::Null]]);
}

/// Asks until the answer is as wanted.
async fn until<T>(ask: impl AsyncFn() -> T, wanted: impl Fn(&T) -> bool) -> T {
    loop {
        let answer = ask().await;
        if wanted(&answer) {
            return answer;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn rows_are_pushed_as_an_array_or_as_lines_and_once_for_a_key() {
    let world = World::new().await;
    world.apply(PROJECT).await;
    let path = "/v1/sources/orders/push";
    let row = json!({ "customer_id": 7, "ordered_at": "2024-05-01T00:00:00Z", "amount": 2.5 });
    let head = |key: &str, kind: &str| format!("content-type: {kind}\r\nidempotency-key: {key}\r\n");
    let (status, first) = world.call("POST", path, &head("a", "application/json"), &format!("[{row}]")).await;
    assert_eq!((status, &first["rows"], &first["duplicate"]), (200, &json!(1), &json!(false)), "{first}");
    let (status, again) = world.call("POST", path, &head("a", "application/json"), &format!("[{row}]")).await;
    assert_eq!((status, &again["upload_id"]), (200, &first["upload_id"]), "{again}");
    let lines = format!("{row}\n{row}\n");
    let (status, other) = world.call("POST", path, &head("b", "application/x-ndjson"), &lines).await;
    assert_eq!((status, &other["rows"]), (200, &json!(2)), "{other}");
    let upload = first["upload_id"].as_str().unwrap();
    let (_, page) = world.get(&format!("/v1/uploads/{upload}")).await;
    assert_eq!(
        (&page["views_behind"], &page["source"]),
        (&json!([]), &json!("orders")),
        "not in the lake yet"
    );
    let (status, refused) = world.call("POST", path, &head("a", "application/json"), "[{}]").await;
    assert_eq!((status, &refused["error"]["code"]), (422, &json!("TM0118")));
    let (status, refused) = world.call("POST", path, &head("c", "application/json"), "[{").await;
    assert_eq!((status, &refused["error"]["code"]), (422, &json!("TM0507")));
    let (status, refused) = world.call("POST", path, &head("c", "text/csv"), "a,b").await;
    assert_eq!((status, &refused["error"]["code"]), (415, &json!("TM0116")));
    let path = "/v1/sources/order/push";
    let (status, refused) = world.call("POST", path, &head("d", "application/json"), "[{}]").await;
    assert_eq!((status, &refused["error"]["code"]), (404, &json!("TM0502")));
}

#[tokio::test]
async fn what_would_be_taken_away_is_told_first_and_what_is_in_use_can_not_be_dropped() {
    let world = World::new().await;
    world.apply(PROJECT).await;
    let none = json!({});
    let look = world.ok("/v1/sources/orders/truncate?dry_run=true", &none).await;
    assert_eq!(
        (&look["rows"], &look["views"][0]["view"], &look["run_id"]),
        (&json!(0), &json!("last_order"), &Value::Null)
    );
    let done = world.ok("/v1/sources/orders/truncate", &none).await;
    let again = world.ok("/v1/sources/orders/truncate", &none).await;
    assert!(done["run_id"].is_string() && done["run_id"] == again["run_id"], "one wish: {done} {again}");
    let path = "/v1/entities/customer/erase?dry_run=true";
    let look = world.ok(path, &json!({ "key": { "customer_id": "7" } })).await;
    assert_eq!((&look["key"], &look["online"]), (&json!({ "customer_id": 7 }), &json!(["last_order"])));

    for (path, body, status, code, says) in [
        ("/v1/sources/order/truncate", &none, 404, "TM0502", "did you mean `orders`?"),
        ("/v1/sources/orders/drop", &none, 422, "TM0508", "tidemill sources truncate orders"),
        ("/v1/sources/never/drop", &none, 404, "TM0502", ""),
        ("/v1/entities/customers/erase", &json!({ "key": "7" }), 404, "TM0509", "did you mean `customer`?"),
        ("/v1/entities/customer/erase", &json!({ "key": {} }), 422, "TM0616", "customer_id: int"),
        ("/v1/entities/customer/erase?dry=1", &json!({ "key": "7" }), 400, "TM0116", ""),
    ] {
        let (got, refused) = world.post(path, body).await;
        assert_eq!((got, &refused["error"]["code"]), (status, &json!(code)), "{path}: {refused}");
        assert!(refused["error"]["hint"].as_str().is_some_and(|hint| hint.contains(says)), "{refused}");
    }

    // Nor what is no longer declared and read by nothing, while something comes.
    let kinds = ["Source", "FeatureView"].map(|kind| format!("kind: {kind}\n"));
    let rest: Vec<&str> =
        PROJECT.split("---\n").filter(|part| !kinds.iter().any(|kind| part.contains(kind))).collect();
    world
        .ok(
            "/v1/sources/orders/push",
            &json!([{ "customer_id": 7, "ordered_at": "2024-05-01", "amount": 1 }]),
        )
        .await;
    let body = json!({ "files": { "tidemill.yaml": rest.join("---\n") } });
    world.ok("/v1/apply", &body).await;
    let (status, refused) = world.post("/v1/sources/orders/drop?dry_run=true", &none).await;
    assert_eq!((status, &refused["error"]["code"]), (422, &json!("TM0508")));
    assert!(
        refused["error"]["message"].as_str().unwrap().contains("uploads for it are under way (1)"),
        "{refused}"
    );
}
