//! The control plane: what is declared, what runs, what is known. REST under `/v1`, features over gRPC.
//!
//! Reading order: [`Options`] and [`run`], `door` (what every request must be), `routes` (a file for each noun; JSON shapes are those of `-o json`),
//! `idempotency` (a write with a key is done once), `features_grpc`, `keeper` (rescue, schedules, Redis and the lake:
//! what somebody must look after). Handlers call one function of a job crate each and convert at the door; nothing is
//! decided here.

mod door;
mod entity;
mod error;
mod extract;
mod features_grpc;
mod idempotency;
mod keeper;
mod routes;
mod ticks;

use std::sync::Arc;

use anyhow::Context as _;
use serde::Deserialize;
use tidemill_core::{Clock, SystemClock, Time, check_bind};
use tidemill_stores::{Stores, StoresOptions};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;

/// Options of the control plane.
#[derive(Clone, Debug, Deserialize)]
pub struct Options {
    /// Where everything is.
    #[serde(flatten)]
    pub stores: StoresOptions,
    /// Where it listens.
    #[serde(default)]
    pub server: Listen,
}

/// `TIDEMILL_SERVER__LISTEN`, `TIDEMILL_SERVER__HOSTS`, and where it sends clients for what other roles do:
/// `TIDEMILL_SERVER__GATEWAY`, `TIDEMILL_SERVER__SERVE`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// `host:port`; loopback unless `insecure`, as there is no authentication yet.
    pub listen: String,
    /// Where clients upload files (gRPC), URL.
    pub gateway: String,
    /// Where clients ask for predictions (REST), URL.
    pub serve: String,
    /// Names under which it answers beside `localhost` and addresses of loopback, separated by commas.
    pub hosts: String,
    /// Whether an address that other machines reach is taken, although there is no authentication yet.
    #[serde(skip)]
    pub insecure: bool,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:7433".to_owned(),
            gateway: "http://127.0.0.1:7434".to_owned(),
            serve: "http://127.0.0.1:7436".to_owned(),
            hosts: String::new(),
            insecure: false,
        }
    }
}

/// What handlers share.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    pub(crate) stores: Stores,
    pub(crate) features: tidemill_features::Deps,
    pub(crate) ingest: tidemill_ingest::Ingest,
    pub(crate) places: Listen,
    clock: Arc<dyn Clock>,
}

impl Api {
    fn new(stores: Stores, places: Listen) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let features = tidemill_features::Deps {
            catalog: stores.catalog.clone(),
            lake: stores.lake.clone(),
            online: stores.online.clone(),
            blobs: stores.blobs.clone(),
            python: stores.pools.clone(),
            cache: stores.unpacked.clone(),
        };
        let ingest = tidemill_ingest::Ingest::new(
            stores.catalog.clone(),
            stores.lake.clone(),
            stores.blobs.clone(),
            Arc::clone(&clock),
            tidemill_ingest::Limits::default(),
        );
        Self { stores, features, ingest, places, clock }
    }

    /// Now, by the data clock.
    pub(crate) async fn now(&self) -> Result<Time, tidemill_store::Error> {
        Ok(self.stores.store.data_clock().await?.at(self.clock.now()))
    }

    /// Real time.
    pub(crate) fn wall(&self) -> Time {
        self.clock.now()
    }
}

/// Runs the control plane until `shutdown`.
///
/// # Errors
/// When a store can't be opened, or the address is taken or not on loopback.
pub async fn run(options: Options, shutdown: CancellationToken) -> anyhow::Result<()> {
    let listener = TcpListener::bind(&options.server.listen)
        .await
        .with_context(|| format!("TIDEMILL_SERVER__LISTEN: listen on {}", options.server.listen))?;
    check_bind(listener.local_addr()?, options.server.insecure)?;
    let hosts = tidemill_proto::Hosts::declared(&options.server.hosts);
    let api = Api::new(Stores::open(&options.stores)?, options.server);
    let keeper = tokio::spawn(keeper::keep(api.clone(), shutdown.clone()));
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter
        .set_service_status(
            "tidemill.features.v1.HistoricalFeatureService",
            tonic_health::ServingStatus::Serving,
        )
        .await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(tidemill_proto::DESCRIPTORS)
    };
    let services = tonic::service::Routes::from(routes::router(api.clone()))
        .add_service(features_grpc::service(api))
        .add_service(health)
        // Clients in use speak one or the other.
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    let guarded = services.into_axum_router().layer(axum::middleware::from_fn_with_state(hosts, door::guard));
    let serving = tonic::transport::Server::builder()
        // REST is HTTP/1 on the same port.
        .accept_http1(true)
        .layer(tidemill_proto::DeadlineLayer)
        .add_routes(tonic::service::Routes::from(guarded))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), shutdown.cancelled_owned());
    // A server without its keeper would look well and rescue nobody: should it panic, the role ends.
    tokio::try_join!(async { anyhow::Ok(serving.await?) }, async {
        keeper.await.context("the keeper has panicked, so the server ends")
    })?;
    Ok(())
}
