//! A small world: two views in Redis, models in a folder, a live set, and the role itself.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use indexmap::IndexMap;
use reqwest::Client;
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tidemill_blobs::{BlobOptions, BlobRef, Blobs};
use tidemill_core::{DataClock, Time};
use tidemill_online::{
    Body, Entry, LiveCode, LiveModelVersion, LiveSet, LiveView, Online, OnlineOptions, OnlineView, Order,
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
        let options = options(redis_url, prefix, folder.path());
        let online = Online::connect(&options.online).unwrap();
        let (grpc, http, shutdown, task) = serve(&options).await;
        let clock =
            DataClock::Replay { start: time(NOW), speed: 0.0, anchored_at: time("2020-01-01T00:00:00Z") };
        let live = LiveSet { clock, ..LiveSet::default() };
        let order = AtomicI64::new(1);
        let blobs = Blobs::open(&options.blobs).unwrap();
        let client = Client::builder().build().unwrap();
        let world =
            Self { online, blobs, grpc, http, client, live, order, options, shutdown, task, _folder: folder };
        world.fill().await;
        world
    }

    /// Writes the values of UA 1 and its plane.
    pub(crate) async fn fill(&self) {
        self.put(
            &schedule(),
            vec![string("UA"), Value::Int(1)],
            vec![Value::Int(9), string("N1")],
            "2013-05-25T04:00:00Z",
        )
        .await;
        self.put(&plane(), vec![string("N1")], vec![Value::Float(250.0)], "2013-06-01T03:00:00Z").await;
    }

    /// Says that a view's values have been written.
    pub(crate) async fn written(&self, view: &OnlineView) {
        self.online.begin_marker(view).await.unwrap();
        assert!(self.online.mark(view, 0, 1).await.unwrap());
    }

    /// Where a version's folder lies.
    pub(crate) fn artifact(&self, model: &str, version: u32) -> String {
        self.live.models[model].versions[&version].as_ref().unwrap().artifact.clone()
    }

    /// Kills every model process of this world, as the system does when memory is short.
    pub(crate) fn kill_models(&self) {
        let mark = format!("WORLD={}", self.options.python.env["WORLD"]);
        let processes = std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let ours = processes.filter(|id| {
            let environment = std::fs::read_to_string(format!("/proc/{id}/environ")).unwrap_or_default();
            environment.split('\0').any(|variable| variable == mark)
        });
        let ours: Vec<String> = ours.collect();
        assert!(ours.len() >= 2, "{ours:?}");
        Command::new("kill").arg("-9").args(ours).status().unwrap();
    }

    /// Adds a model version made by `make_model.py`; it is live after [`publish`](Self::publish).
    pub(crate) async fn add(&mut self, model: &str, version: u32, kind: &[&str]) {
        let folder = model_folder(kind);
        let artifact = self.blobs.put_folder("artifacts", folder.path()).await.unwrap();
        let known = self.live.models.entry(model.to_owned()).or_default();
        known.versions.insert(version, Ok(Arc::new(live_version(artifact))));
    }

    /// Changes a version's document; it is live after [`publish`](Self::publish).
    pub(crate) fn change(&mut self, model: &str, version: u32, change: impl FnOnce(&mut LiveModelVersion)) {
        change(Arc::make_mut(self.live.models[model].versions[&version].as_mut().unwrap()));
    }

    /// Publishes the project's Python and returns what a version names it by.
    pub(crate) async fn code(&self, files: &Json) -> LiveCode {
        let archive = files.to_string();
        let hash = BlobRef::of(archive.as_bytes()).to_string();
        let path = format!("code/{hash}.json");
        self.blobs.put_at(&path, archive.into()).await.unwrap();
        LiveCode { path, hash }
    }

    /// Points an alias at a version and publishes everything.
    pub(crate) async fn promote(&mut self, model: &str, version: u32) {
        self.live.models[model].aliases.insert("champion".to_owned(), version);
        self.publish().await;
    }

    pub(crate) async fn publish(&self) {
        let order = self.order.fetch_add(1, Ordering::Relaxed);
        self.online.publish(order, &self.live).await.unwrap();
    }

    /// What `/readyz` says: status and body.
    pub(crate) async fn readyz(&self) -> (u16, String) {
        let reply = self.client.get(format!("{}/readyz", self.http)).send().await.unwrap();
        (reply.status().as_u16(), reply.text().await.unwrap())
    }

    /// Waits until the role has read the live set and every alias has a version that answers.
    pub(crate) async fn ready(&self) {
        soon(async || self.readyz().await.0 == 200 && self.seen().await).await;
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

    /// A second serving process on the same Redis and folder.
    pub(crate) async fn second(&self) -> Second {
        let (_, http, shutdown, task) = serve(&self.options).await;
        Second { http, shutdown, task }
    }

    /// Takes away what serving processes wrote of themselves, as a Redis that came back empty would.
    pub(crate) async fn lose_figures(&self, rollout: &str) {
        let OnlineOptions { url, prefix, .. } = &self.options.online;
        let mut connection = tidemill_testkit::redis::connection(url).await.unwrap();
        let ids: Vec<String> = redis::Cmd::zrange(format!("{prefix}:measuring"), 0, -1)
            .query_async(&mut connection)
            .await
            .unwrap();
        let mut keys = vec![format!("{prefix}:measuring"), format!("{prefix}:arms:{rollout}")];
        keys.extend(ids.iter().map(|id| format!("{prefix}:figures:{id}")));
        redis::Cmd::del(keys).query_async::<()>(&mut connection).await.unwrap();
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

/// Another serving process.
pub(crate) struct Second {
    pub(crate) http: String,
    shutdown: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Second {
    /// Ends it in good order.
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

/// Everything at home in `folder`, on free ports.
pub(crate) fn options(redis_url: &str, prefix: &str, folder: &Path) -> Options {
    let online = OnlineOptions::new(redis_url, prefix);
    let mut options = Options::new(online, BlobOptions::folder(folder), python());
    options.listen = ([127, 0, 0, 1], 0).into();
    options.http = ([127, 0, 0, 1], 0).into();
    options.watch_every = Duration::from_millis(20);
    options.python.package = Some(package());
    options.python.env.insert("WORLD".to_owned(), folder.display().to_string());
    options.unpacked = folder.join("unpacked");
    options.log.folder = folder.join("log");
    options.log.limits.cut_after = Duration::from_millis(100);
    options
}

/// What the role logs, of all tests of this process.
pub(crate) fn log() -> Arc<Mutex<String>> {
    static LOG: LazyLock<Arc<Mutex<String>>> = LazyLock::new(|| {
        let log = Arc::new(Mutex::new(String::new()));
        let written = Arc::clone(&log);
        tracing_subscriber::fmt().json().with_writer(move || Lines(Arc::clone(&written))).init();
        log
    });
    Arc::clone(&LOG)
}

struct Lines(Arc<Mutex<String>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
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

pub(crate) fn live_view(view: OnlineView) -> (String, LiveView) {
    (view.name().to_owned(), LiveView::new(view, false, Vec::new()))
}

fn live_version(artifact: String) -> LiveModelVersion {
    let own = |name: &str| KeyOrigin::Request(name.to_owned());
    let tail = KeyOrigin::Feature { view: "schedule".to_owned(), feature: "tailnum".to_owned() };
    let read = |view: &str, keys, feature: &str| HydrationRead {
        view: view.to_owned(),
        role: None,
        keys,
        features: vec![feature.to_owned()],
    };
    let columns = [("carrier", Type::String), ("hour", Type::Int), ("distance", Type::Float)];
    LiveModelVersion {
        artifact,
        code: None,
        runtime: "lightgbm".to_owned(),
        keys: [("carrier".to_owned(), Type::String), ("flight".to_owned(), Type::Int)].into(),
        hydration: Hydration {
            rounds: vec![
                vec![read("schedule", vec![own("carrier"), own("flight")], "hour")],
                vec![read("plane", vec![tail], "distance")],
            ],
            columns: columns.map(|(name, ty)| (name.to_owned(), ty)).into(),
            on_demand: None,
        },
        views: [schedule(), plane()].map(live_view).into(),
        request: IndexMap::new(),
        nullable: Some(Vec::new()),
        outputs: IndexMap::from([("late_probability".to_owned(), Type::Float.into())]),
        fail_on_missing: false,
        processes: 2,
        processes_max: None,
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
