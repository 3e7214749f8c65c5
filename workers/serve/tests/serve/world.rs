//! A small world: two views in Redis, models in a folder, a live set, and the role itself.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use indexmap::IndexMap;
use reqwest::Client;
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tidemill_blobs::{BlobOptions, Blobs};
use tidemill_core::{DataClock, Time};
use tidemill_online::{
    Body, Entry, LiveModel, LiveModelVersion, LiveSet, LiveView, Online, OnlineOptions, OnlineView, Order,
    Stored,
};
use tidemill_proto::serving::v1::prediction_service_client::PredictionServiceClient;
use tidemill_serve::{Options, Server};
use tidemill_spec::{
    Feature, FeatureView, Freshness, Hydration, HydrationRead, KeyOrigin, Meta, OnlineFeatures, Rule, Type,
    Value, ViewInput,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// What the data clock shows.
pub(crate) const NOW: &str = "2013-06-01T04:00:00Z";

pub(crate) struct World {
    pub(crate) online: Online,
    pub(crate) blobs: Blobs,
    pub(crate) grpc: String,
    pub(crate) http: String,
    pub(crate) client: Client,
    pub(crate) live: LiveSet,
    order: AtomicI64,
    options: Options,
    shutdown: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
    _folder: TempDir,
}

impl World {
    /// Two views with values for UA 1 and its plane; nothing is live yet.
    pub(crate) async fn start(redis_url: &str, prefix: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let online_options = OnlineOptions { url: redis_url.to_owned(), prefix: prefix.to_owned() };
        let blob_options = BlobOptions::folder(folder.path());
        let online = Online::connect(&online_options).unwrap();
        let mut options = Options::new(online_options, blob_options.clone(), python());
        options.listen = ([127, 0, 0, 1], 0).into();
        options.http = ([127, 0, 0, 1], 0).into();
        options.watch_every = Duration::from_millis(20);
        options.python.package = Some(package());
        let (grpc, http, shutdown, task) = serve(&options).await;
        let clock =
            DataClock::Replay { start: time(NOW), speed: 0.0, anchored_at: time("2020-01-01T00:00:00Z") };
        let live =
            LiveSet { clock, views: [schedule(), plane()].map(live_view).into(), ..LiveSet::default() };
        let order = AtomicI64::new(1);
        let blobs = Blobs::open(&blob_options).unwrap();
        let client = Client::builder().build().unwrap();
        let world =
            Self { online, blobs, grpc, http, client, live, order, options, shutdown, task, _folder: folder };
        world
            .put(
                &schedule(),
                vec![string("UA"), Value::Int(1)],
                vec![Value::Int(9), string("N1")],
                "2013-05-25T04:00:00Z",
            )
            .await;
        world.put(&plane(), vec![string("N1")], vec![Value::Float(250.0)], "2013-06-01T03:00:00Z").await;
        world
    }

    /// Adds a model version made by `make_model.py`; it is live after [`publish`](Self::publish).
    pub(crate) async fn add(&mut self, model: &str, version: u32, kind: &[&str]) {
        let folder = model_folder(kind);
        let artifact = self.blobs.put_folder("artifacts", folder.path()).await.unwrap();
        let keys = IndexMap::from([("carrier".to_owned(), Type::String), ("flight".to_owned(), Type::Int)]);
        let known = self.live.models.entry(model.to_owned()).or_insert_with(|| LiveModel {
            keys,
            aliases: IndexMap::new(),
            versions: IndexMap::new(),
        });
        known.versions.insert(version, live_version(artifact));
    }

    /// Points an alias at a version and publishes everything.
    pub(crate) async fn promote(&mut self, model: &str, version: u32) {
        self.live.models[model].aliases.insert("champion".to_owned(), version);
        self.publish().await;
    }

    pub(crate) async fn publish(&self) {
        let order = self.order.fetch_add(1, Ordering::Relaxed);
        self.online.publish_clock(order, &self.live.clock).await.unwrap();
        self.online.publish_views(order, &self.live.views).await.unwrap();
        self.online.publish_models(order, &self.live.models).await.unwrap();
    }

    /// Waits until the role has read the live set and every alias has a version that answers.
    pub(crate) async fn ready(&self) {
        soon(async || {
            let reply = self.client.get(format!("{}/readyz", self.http)).send().await.unwrap();
            reply.status() == 200 && self.seen().await
        })
        .await;
    }

    /// Whether the role has read a live set with models.
    async fn seen(&self) -> bool {
        let model = self.live.models.keys().next().unwrap();
        let (status, reply) = self.rest(model, json!({"entities": []})).await;
        status != 503 && reply["error"]["code"] != json!("TM0830")
    }

    /// Calls the REST twin: status and body.
    pub(crate) async fn rest(&self, model: &str, body: Json) -> (u16, Json) {
        let url = format!("{}/v1/models/{model}:predict", self.http);
        let reply = self.client.post(url).json(&body).send().await.unwrap();
        (reply.status().as_u16(), reply.json().await.unwrap())
    }

    pub(crate) async fn channel(&self) -> Channel {
        Channel::from_shared(self.grpc.clone()).unwrap().connect().await.unwrap()
    }

    pub(crate) async fn predictor(&self) -> PredictionServiceClient<Channel> {
        PredictionServiceClient::new(self.channel().await)
    }

    pub(crate) async fn put(&self, view: &OnlineView, key: Vec<Value>, row: Vec<Value>, at: &str) {
        let order = Order::row(time(at), time(at), 1);
        let entry = Entry { key, stored: Stored { order, body: Body::Row(row) } };
        self.online.put(view, &[entry]).await.unwrap();
    }

    /// Ends the role and starts another one on the same Redis and folder.
    pub(crate) async fn restart(&mut self) {
        self.shutdown.cancel();
        (&mut self.task).await.unwrap().unwrap();
        (self.grpc, self.http, self.shutdown, self.task) = serve(&self.options).await;
    }

    /// Ends the role in good order.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
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

async fn serve(options: &Options) -> (String, String, CancellationToken, JoinHandle<anyhow::Result<()>>) {
    let server = Server::bind(options.clone()).await.unwrap();
    let grpc = format!("http://{}", server.grpc_address().unwrap());
    let http = format!("http://{}", server.http_address().unwrap());
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(server.run(shutdown.clone()));
    (grpc, http, shutdown, task)
}

pub(crate) fn string(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn time(text: &str) -> Time {
    tidemill_spec::value::parse_time(text).unwrap()
}

pub(crate) fn schedule() -> OnlineView {
    let keys = [("carrier".to_owned(), Type::String), ("flight".to_owned(), Type::Int)];
    view("schedule", &[("hour", Type::Int), ("tailnum", Type::String)], keys.into(), None)
}

pub(crate) fn plane() -> OnlineView {
    let keys = [("tailnum".to_owned(), Type::String)];
    view("plane", &[("distance", Type::Float)], keys.into(), Some(Duration::from_mins(30)))
}

fn view(
    name: &str,
    features: &[(&str, Type)],
    keys: IndexMap<String, Type>,
    fail: Option<Duration>,
) -> OnlineView {
    let feature = |ty, name: &str| Feature { ty, rule: Rule::Last(name.to_owned()), default: None };
    let definition = FeatureView {
        name: name.to_owned(),
        meta: Meta::default(),
        entity: name.to_owned(),
        input: ViewInput::Source(name.to_owned()),
        ttl: None,
        features: features.iter().map(|(name, ty)| ((*name).to_owned(), feature(*ty, name))).collect(),
        python: None,
        batch: false,
        timeout: None,
        online: OnlineFeatures::All,
        freshness: fail.map(|fail| Freshness { warn: None, fail: Some(fail) }),
        leak_allowed: false,
    };
    OnlineView::new(definition, 1, keys, false)
}

fn live_view(view: OnlineView) -> (String, LiveView) {
    (view.name().to_owned(), LiveView { current: 1, versions: IndexMap::from([(1, Arc::new(view))]) })
}

fn live_version(artifact: String) -> LiveModelVersion {
    let own = |name: &str| KeyOrigin::Request(name.to_owned());
    let tail = KeyOrigin::Feature { view: "schedule".to_owned(), feature: "tailnum".to_owned() };
    let read = |view: &str, keys, feature: &str| HydrationRead {
        view: view.to_owned(),
        keys,
        features: vec![feature.to_owned()],
    };
    let columns = [("carrier", Type::String), ("hour", Type::Int), ("distance", Type::Float)];
    LiveModelVersion {
        artifact,
        runtime: "lightgbm".to_owned(),
        hydration: Hydration {
            rounds: vec![
                vec![read("schedule", vec![own("carrier"), own("flight")], "hour")],
                vec![read("plane", vec![tail], "distance")],
            ],
            columns: columns.map(|(name, ty)| (name.to_owned(), ty)).into(),
        },
        view_versions: ["schedule", "plane"].map(|view| (view.to_owned(), 1)).into(),
        request: IndexMap::new(),
        outputs: IndexMap::from([("late_probability".to_owned(), Type::Float.into())]),
        fail_on_missing: false,
        processes: 2,
    }
}

fn model_folder(kind: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../jobs/inference/tests/make_model.py");
    let mut command = Command::new(python());
    command.env("PYTHONPATH", package()).arg(script).arg(folder.path()).args(kind);
    assert!(command.status().unwrap().success());
    folder
}

fn python() -> PathBuf {
    let venv = || std::env::home_dir().unwrap().join(".cache/tidemill/venv/bin/python");
    std::env::var_os("TIDEMILL_PYTHON").map_or_else(venv, PathBuf::from)
}

fn package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../python/src").canonicalize().unwrap()
}
