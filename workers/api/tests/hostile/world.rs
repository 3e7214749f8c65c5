//! A control plane of its own, with a project in force whose views are up to date.

use std::net::TcpListener;

use serde_json::{Value, json};
use tidemill_features::Deps;
use tidemill_stores::Stores;
use tidemill_testkit::{Engine, engine, redis, run_until_idle};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) const PROJECT: &str = "
apiVersion: tidemill/v1
kind: Project
name: shop
clock: { replay: { start: \"2024-06-01T00:00:00Z\", speed: 0 } }
---
apiVersion: tidemill/v1
kind: Entity
name: customer
keys: { customer_id: int, region: string }
---
apiVersion: tidemill/v1
kind: Source
name: orders
columns: { customer_id: int, region: string, ordered_at: timestamp, amount: float }
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
kind: Label
name: large
entity: customer
source: orders
value: { type: bool, sql: amount > 15 }
asked_at: ordered_at
---
apiVersion: tidemill/v1
kind: Model
name: guess
runtime: lightgbm
entity: customer
inputs: [last_order]
outputs: { score: float }
---
apiVersion: tidemill/v1
kind: Monitor
name: rows
target: { source: orders }
every: 1d
reference: { from: \"2024-01-01T00:00:00Z\", to: \"2024-02-01T00:00:00Z\" }
checks: [{ volume: { min: 1 } }]
---
apiVersion: tidemill/v1
kind: Pipeline
name: tidy
schedule: { cron: \"30 3 * * *\" }
params: { days: 1, list: [1] }
steps:
  one: { uses: sql, with: { query: \"SELECT ${{ params.days }}\" } }
";

pub(crate) struct World {
    pub(crate) address: String,
    engine: Engine,
    running: JoinHandle<anyhow::Result<()>>,
    _objects: tempfile::TempDir,
    _stop: DropGuard,
}

impl World {
    pub(crate) async fn new() -> Self {
        let (engine, redis) = (engine().await.unwrap(), redis::prefix().await.unwrap());
        let objects = tempfile::tempdir().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let options: tidemill_api::Options = serde_json::from_value(json!({
            "database": { "url": engine.database.url },
            "redis": { "url": redis.url, "prefix": redis.prefix },
            "blobs": { "url": format!("file://{}", objects.path().display()) },
            "server": { "listen": address, "hosts": "tunnel.example" },
        }))
        .unwrap();
        let stores = Stores::open(&options.stores).unwrap();
        stores.migrate().await.unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn(tidemill_api::run(options, stop.clone()));
        while TcpStream::connect(&address).await.is_err() {
            assert!(!running.is_finished(), "the server ended");
            tokio::task::yield_now().await;
        }
        let world = Self { address, engine, running, _objects: objects, _stop: stop.drop_guard() };
        let (status, applied) =
            world.post("/v1/apply", &json!({ "files": { "tidemill.yaml": PROJECT } })).await;
        assert_eq!(status, 200, "{applied}");
        let Stores { catalog, lake, online, blobs, pools, unpacked, .. } = stores;
        let deps = Deps { catalog, lake, online, blobs, python: pools, cache: unpacked };
        run_until_idle(&world.engine.store, tidemill_features::jobs(&deps)).await.unwrap();
        world
    }

    /// Sends bytes and reads until the server closes: status, head, body.
    pub(crate) async fn send(&self, request: &[u8]) -> (u16, String, Vec<u8>) {
        assert!(!self.running.is_finished(), "the server ended");
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        // A server that refuses early may close before all was sent.
        let _ = stream.write_all(request).await;
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply).await;
        let split = reply.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap_or(reply.len());
        let head = String::from_utf8_lossy(&reply[..split]).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        (status, head, reply.get(split + 4..).unwrap_or_default().to_vec())
    }

    pub(crate) async fn call(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, Value) {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
            body.len()
        );
        let host = if headers.to_lowercase().contains("host:") { "" } else { "host: localhost\r\n" };
        let head = head.replacen("connection: close\r\n", &format!("connection: close\r\n{host}"), 1);
        let (status, _, reply) = self.send(&[head.as_bytes(), body].concat()).await;
        (status, serde_json::from_slice(&reply).unwrap_or_else(|_| String::from_utf8_lossy(&reply).into()))
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.call("POST", path, "content-type: application/json\r\n", body.to_string().as_bytes()).await
    }
}
