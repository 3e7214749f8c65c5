//! A whole installation of its own: control plane, worker and serving as they are started, on real servers.

use std::{collections::BTreeMap, fs, net::TcpListener, path::Path, sync::Arc, time::Duration};

use reqwest::Client;
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tidemill_blobs::{BlobOptions, BlobRef};
use tidemill_core::SystemClock;
use tidemill_features::GetRequest;
use tidemill_ingest::{FileClaim, Ingest, Limits, Start};
use tidemill_offline::KnownAt;
use tidemill_online::OnlineOptions;
use tidemill_spec::Value;
use tidemill_stores::{Stores, StoresOptions};
use tidemill_testkit::{Engine, engine, redis};
use tokio_util::sync::{CancellationToken, DropGuard};

const PROJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/live/shop");

pub(crate) struct World {
    pub(crate) stores: Stores,
    pub(crate) redis: redis::Server,
    client: Client,
    api: String,
    serve: String,
    folder: TempDir,
    _engine: Engine,
    _stop: DropGuard,
}

impl World {
    /// Everything runs, the project is applied, and customer 1 of town 7 has spent 10.
    pub(crate) async fn start() -> Self {
        let (engine, redis, folder) =
            (engine().await.unwrap(), redis::Server::start().unwrap(), tempfile::tempdir().unwrap());
        let unpacked = folder.path().join("unpacked");
        fs::create_dir_all(&unpacked).unwrap();
        let blobs = json!({ "url": format!("file://{}", folder.path().join("blobs").display()) });
        let stores = json!({
            "database": { "url": engine.database.url },
            "redis": { "url": redis.url(), "prefix": "live" },
            "blobs": blobs,
            "python": tidemill_testkit::python().unwrap(),
            "python_package": package(),
            "unpacked": unpacked,
        });
        let options: StoresOptions = serde_json::from_value(stores.clone()).unwrap();
        let open = Stores::open(&options).unwrap();
        open.migrate().await.unwrap();

        let stop = CancellationToken::new();
        let api = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let mut server = stores.clone();
        server["server"] = json!({ "listen": api });
        tokio::spawn(tidemill_api::run(serde_json::from_value(server).unwrap(), stop.clone()));
        tokio::spawn(tidemill_fleet::run(serde_json::from_value(stores).unwrap(), stop.clone()));
        let online = OnlineOptions::new(redis.url(), "live");
        let mut serving = tidemill_serve::Options::new(
            online,
            BlobOptions::folder(folder.path().join("blobs")),
            tidemill_testkit::python().unwrap(),
        );
        serving.listen = ([127, 0, 0, 1], 0).into();
        serving.http = ([127, 0, 0, 1], 0).into();
        serving.python.package = Some(package().into());
        serving.unpacked = unpacked;
        serving.log.folder = folder.path().join("log");
        let serving = tidemill_serve::Server::bind(serving).await.unwrap();
        let serve = format!("http://{}", serving.http_address().unwrap());
        tokio::spawn(serving.run(stop.clone()));

        let api = format!("http://{api}");
        let (client, stop) = (Client::new(), stop.drop_guard());
        let world = Self { stores: open, redis, client, api, serve, folder, _engine: engine, _stop: stop };
        soon(async || world.client.get(format!("{}/readyz", world.api)).send().await.is_ok()).await;
        world.apply(|yaml| yaml).await;
        world.order(10).await;
        soon(async || world.amount().await == Some(10.0)).await;
        world
    }

    /// Applies the project, its YAML changed.
    pub(crate) async fn apply(&self, change: impl Fn(String) -> String) {
        let read = |name: &str| fs::read_to_string(Path::new(PROJECT).join(name)).unwrap();
        let mut files = BTreeMap::from([("tidemill.yaml", change(read("shop.yaml")))]);
        for name in ["models/__init__.py", "models/shape.py", "models/spend.py"] {
            files.insert(name, read(name));
        }
        let (status, reply) = self.post("/v1/apply", &json!({ "files": files })).await;
        assert_eq!(status, 200, "{reply}");
    }

    /// Customer 1 orders something in town 7; the views follow.
    pub(crate) async fn order(&self, amount: u32) {
        let Stores { catalog, lake, blobs, .. } = self.stores.clone();
        let ingest = Ingest::new(catalog, lake, blobs, Arc::new(SystemClock), Limits::default());
        let csv =
            format!("customer_id,town_id,ordered_at,amount\n1,7,2024-05-01T00:00:{amount:02}Z,{amount}\n");
        let file = self.folder.path().join("orders.csv");
        fs::write(&file, &csv).unwrap();
        let claim = FileClaim {
            source: "orders".to_owned(),
            format: "csv".to_owned(),
            sha256: BlobRef::of(csv.as_bytes()).to_string(),
            size_bytes: csv.len() as u64,
            file_name: "orders.csv".to_owned(),
            force: false,
        };
        ingest.accept(&claim, &file, Start::Run).await.unwrap();
        self.stores.store.wake().await;
    }

    /// What the current version of `last_order` holds of customer 1.
    pub(crate) async fn amount(&self) -> Option<f64> {
        let Stores { catalog, lake, online, blobs, pools, unpacked, .. } = self.stores.clone();
        let deps = tidemill_features::Deps { catalog, lake, online, blobs, python: pools, cache: unpacked };
        let entity = json!({ "customer_id": 1 });
        let request = GetRequest {
            entities: vec![entity.as_object().unwrap().clone()],
            features: vec!["last_order".to_owned()],
            at: None,
            known_at: KnownAt::Any,
        };
        let got = tidemill_features::get(&deps, &request).await.unwrap();
        match got[0][0].features.values["amount"] {
            Value::Float(amount) => Some(amount),
            _ => None,
        }
    }

    /// Runs a pipeline to its end; the run's page.
    pub(crate) async fn run(&self, pipeline: &str, params: Json) -> Json {
        let (status, run) = self.post("/v1/runs", &json!({ "pipeline": pipeline, "params": params })).await;
        assert_eq!(status, 200, "{run}");
        let path = format!("/v1/runs/{}", run["id"].as_str().unwrap());
        soon(async || !["running", "pending"].contains(&self.get(&path).await.1["state"].as_str().unwrap()))
            .await;
        let (_, page) = self.get(&path).await;
        assert_eq!(page["state"], "completed", "{page:#}");
        page
    }

    /// Predicts again what was logged: what came of it.
    pub(crate) async fn replay(&self, prediction: &str) -> Json {
        let (status, started) = self.post(&format!("/v1/predictions/{prediction}/replay"), &json!({})).await;
        assert_eq!(status, 200, "{started}");
        let path = format!("/v1/runs/{}", started["run_id"].as_str().unwrap());
        soon(async || self.get(&path).await.1["state"] == "completed").await;
        self.get(&path).await.1["step_list"][0]["outputs"].clone()
    }

    pub(crate) async fn promote(&self, version: u32) -> (u16, Json) {
        let body = json!({ "version": version, "alias": "champion" });
        self.post("/v1/models/spender/promote", &body).await
    }

    /// Asks the champion about customer 1: status and body.
    pub(crate) async fn predict(&self) -> (u16, Json) {
        let url = format!("{}/v1/models/spender:predict", self.serve);
        let body = json!({ "entities": [{ "customer_id": 1 }] });
        let reply = self.client.post(url).json(&body).send().await.unwrap();
        (reply.status().as_u16(), reply.json().await.unwrap())
    }

    /// The champion's version and what it says of customer 1.
    pub(crate) async fn answer(&self) -> (u64, f64) {
        let (status, reply) = self.predict().await;
        assert_eq!(status, 200, "{reply}");
        let spends = reply["predictions"][0]["outputs"]["spends"].as_f64().unwrap();
        (reply["version"].as_u64().unwrap(), (spends * 1e6).round() / 1e6)
    }

    pub(crate) async fn readyz(&self) -> (u16, String) {
        let reply = self.client.get(format!("{}/readyz", self.serve)).send().await.unwrap();
        (reply.status().as_u16(), reply.text().await.unwrap())
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Json) {
        let reply = self.client.get(format!("{}{path}", self.api)).send().await.unwrap();
        (reply.status().as_u16(), reply.json().await.unwrap())
    }

    pub(crate) async fn post(&self, path: &str, body: &Json) -> (u16, Json) {
        let reply = self.client.post(format!("{}{path}", self.api)).json(body).send().await.unwrap();
        (reply.status().as_u16(), reply.json().await.unwrap())
    }

    /// Redis loses everything.
    pub(crate) async fn flush(&self) {
        let mut connection = redis::connection(&self.redis.url()).await.unwrap();
        ::redis::cmd("FLUSHALL").query_async::<()>(&mut connection).await.unwrap();
    }
}

fn package() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../python/src").to_owned()
}

/// Asks every 20 ms until the answer is yes.
pub(crate) async fn soon(mut asked: impl AsyncFnMut() -> bool) {
    let waits = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while !asked().await {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(2), waits).await.expect("in time");
}
