//! The roles as subcommands: options from the environment, run until told to stop, drain.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use serde::Deserialize;
use tidemill_core::SystemClock;
use tidemill_ingest::{Ingest, Limits};
use tidemill_stores::{Stores, StoresOptions};
use tidemill_streams::{KafkaOptions, Streams};
use tokio_util::sync::CancellationToken;

use crate::{
    args::RoleArgs,
    config::options,
    failure::{Done, Failure},
};

/// `tidemill server`
pub(crate) async fn server(role: RoleArgs) -> Done {
    let mut given: tidemill_api::Options = options()?;
    given.server.insecure = role.insecure;
    tidemill_api::run(given, starting("server")?).await?;
    Ok(())
}

/// Options of the gateway: `TIDEMILL_GATEWAY__LISTEN` and `TIDEMILL_KAFKA__BROKERS` beside where everything is.
#[derive(Deserialize)]
struct GatewayOptions {
    #[serde(flatten)]
    stores: StoresOptions,
    #[serde(default = "gateway_listen")]
    gateway: Listen,
    #[serde(default)]
    kafka: KafkaOptions,
}

/// `host:port`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listen {
    listen: SocketAddr,
}

fn gateway_listen() -> Listen {
    Listen { listen: tidemill_gateway::Options::default().listen }
}

/// `tidemill gateway`
pub(crate) async fn gateway(role: RoleArgs) -> Done {
    let shutdown = starting("gateway")?;
    let GatewayOptions { stores, gateway, kafka } = options()?;
    let Stores { store, catalog, lake, blobs, .. } = Stores::open(&stores)?;
    let clock = Arc::new(SystemClock);
    let ingest = Ingest::new(catalog.clone(), lake, blobs, clock, Limits::default());
    let listen = tidemill_gateway::Options { listen: gateway.listen, insecure: role.insecure };
    let files = tidemill_gateway::Server::bind(&listen, ingest.clone()).await?.run(shutdown.clone());
    if !kafka.given() {
        tracing::info!("no Kafka is named (TIDEMILL_KAFKA__BROKERS): streams are not read here");
        return Ok(files.await?);
    }
    let name = format!("gateway-{}", std::process::id());
    let streams = Streams::new(ingest, catalog, kafka, name.clone());
    let streams = tidemill_gateway::streams::read(streams, store, name, shutdown);
    tokio::try_join!(files, streams)?;
    Ok(())
}

/// `tidemill worker`
pub(crate) async fn worker() -> Done {
    tidemill_fleet::run(options()?, starting("worker")?).await?;
    Ok(())
}

/// Options of the serving role; it opens neither Postgres nor the lake.
#[derive(Deserialize)]
struct ServeOptions {
    redis: tidemill_online::OnlineOptions,
    blobs: tidemill_blobs::BlobOptions,
    #[serde(default)]
    serve: ServeListen,
    #[serde(default = "default_python")]
    python: PathBuf,
    #[serde(default)]
    python_package: Option<PathBuf>,
    #[serde(default)]
    unpacked: Option<PathBuf>,
}

/// `TIDEMILL_SERVE__LISTEN`, `TIDEMILL_SERVE__HTTP`, `TIDEMILL_SERVE__HOSTS`; where the prediction log waits to be
/// shipped, and how much of it may: `TIDEMILL_SERVE__LOG`, `TIDEMILL_SERVE__LOG_MIB`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ServeListen {
    listen: Option<SocketAddr>,
    http: Option<SocketAddr>,
    hosts: String,
    log: Option<PathBuf>,
    log_mib: Option<u64>,
}

fn default_python() -> PathBuf {
    PathBuf::from("python3")
}

/// `tidemill serve`
pub(crate) async fn serve(role: RoleArgs) -> Done {
    let shutdown = starting("serve")?;
    let given: ServeOptions = options()?;
    let mut serving = tidemill_serve::Options::new(given.redis, given.blobs, given.python);
    serving.python.package = given.python_package;
    serving.unpacked = given.unpacked.unwrap_or(serving.unpacked);
    serving.insecure = role.insecure;
    serving.listen = given.serve.listen.unwrap_or(serving.listen);
    serving.http = given.serve.http.unwrap_or(serving.http);
    serving.hosts = given.serve.hosts;
    serving.log.folder = given.serve.log.unwrap_or(serving.log.folder);
    if let Some(mebibytes) = given.serve.log_mib {
        serving.log.limits.budget_bytes = mebibytes << 20;
    }
    tidemill_serve::run(serving, shutdown).await?;
    Ok(())
}

/// `tidemill migrate`
pub(crate) async fn migrate() -> Done {
    starting("migrate")?;
    tidemill_fleet::migrate(options()?).await?;
    Ok(())
}

/// Logs go to standard error; the token is cancelled by the first signal.
fn starting(role: &str) -> Result<CancellationToken, Failure> {
    tidemill_dev::die_with_parent()?;
    tidemill_telemetry::init(&tidemill_telemetry::Options::default());
    tracing::info!(role, "starting");
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        token.cancel();
    });
    Ok(shutdown)
}
