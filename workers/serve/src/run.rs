//! Puts the parts together: binds, watches, warms, serves, drains.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::{middleware, serve::ListenerExt as _};
use tidemill_blobs::{BlobRef, Blobs, private_folder};
use tidemill_core::{Clock, SystemClock, WorkerId, check_bind};
use tidemill_expressions::Evaluator;
use tidemill_online::Online;
use tidemill_proto::{
    DESCRIPTORS, DeadlineLayer, Hosts, features::v1::feature_service_server::FeatureServiceServer,
    inference::grpc_inference_service_server::GrpcInferenceServiceServer,
    serving::v1::prediction_service_server::PredictionServiceServer,
};
use tidemill_telemetry::Registry;
use tokio::{
    net::TcpListener,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    LogOptions, Options,
    door::Door,
    follow::{Loader, follow},
    grpc,
    measure::Measure,
    metrics::Metrics,
    oip,
    predict::Predictor,
    prediction_log::{self, Shipper},
    readiness::replica,
    rest,
    warm::Warm,
};

const HEALTH_EVERY: Duration = Duration::from_millis(500);
/// How often figures are written to Redis.
const FIGURES_EVERY: Duration = Duration::from_secs(1);
/// How long a write may take; the next one makes up for it.
const FIGURES_MAX: Duration = Duration::from_secs(2);

/// Serves predictions until `shutdown`, then answers what has begun.
///
/// # Errors
/// A port or a URL that can't be used. Redis or the artifact store being away is no error.
pub async fn run(options: Options, shutdown: CancellationToken) -> anyhow::Result<()> {
    Box::pin(Server::bind(options).await?.run(shutdown)).await
}

/// Bound, not serving yet.
#[derive(Debug)]
pub struct Server {
    grpc: TcpListener,
    http: TcpListener,
    hosts: Hosts,
    predictor: Arc<Predictor>,
    loader: Loader,
    shipper: Shipper,
    registry: Registry,
}

impl Server {
    /// Binds both ports and begins to watch the live set.
    pub async fn bind(options: Options) -> anyhow::Result<Self> {
        for address in [options.listen, options.http] {
            check_bind(address, options.insecure)?;
        }
        let bound = |what, address| async move {
            TcpListener::bind(address).await.with_context(|| format!("{what} can't listen on {address}"))
        };
        let grpc = bound("gRPC", options.listen).await?;
        let http = bound("HTTP", options.http).await?;
        let hosts = Hosts::declared(&options.hosts);
        let hosts = if http.local_addr()?.ip().is_loopback() { hosts } else { hosts.any_address() };
        let registry = Registry::default();
        let metrics = Metrics::register(&registry);
        let online = Online::connect(&options.online)?;
        let blobs = Blobs::open(&options.blobs)?;
        private_folder(&options.unpacked).context("TIDEMILL_UNPACKED")?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        // What a process of another installation left on this machine is not ours to ship.
        let ours = format!("{} {}", options.blobs.url, options.online.prefix);
        let ours = BlobRef::of(ours.as_bytes()).to_string();
        private_folder(&options.log.folder).context("TIDEMILL_SERVE__LOG")?;
        let log = LogOptions { folder: options.log.folder.join(ours), ..options.log };
        let (log, shipper) = prediction_log::start(log, blobs.clone(), Arc::clone(&clock), metrics.clone())
            .context("TIDEMILL_SERVE__LOG")?;
        let loader =
            Loader { blobs, python: options.python, unpacked: options.unpacked, metrics: metrics.clone() };
        let predictor = Arc::new(Predictor {
            seen: online.watch(options.watch_every),
            warm: Arc::new(Warm::default()),
            online,
            evaluator: Evaluator::default(),
            clock,
            metrics,
            log,
            measure: Measure::default(),
            deadline: options.deadline,
            entities_max: options.entities_max,
        });
        Ok(Self { grpc, http, hosts, predictor, loader, shipper, registry })
    }

    /// Where gRPC listens.
    pub fn grpc_address(&self) -> std::io::Result<SocketAddr> {
        self.grpc.local_addr()
    }

    /// Where REST, probes and metrics listen.
    pub fn http_address(&self) -> std::io::Result<SocketAddr> {
        self.http.local_addr()
    }

    /// Serves until `shutdown`, then answers what has begun.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let Self { grpc, http, hosts, predictor, loader, mut shipper, registry } = self;
        let (reporter, health) = tonic_health::server::health_reporter();
        let address = http.local_addr()?.to_string();
        let reports = report(reporter, Arc::clone(&predictor), address, shutdown.clone());
        let figures = write_figures(Arc::clone(&predictor), shutdown.clone());
        let follow = follow(Arc::clone(&predictor.warm), predictor.seen.clone(), loader, shutdown.clone());
        let ships = shipper.run(shutdown.clone());
        let reflection = || {
            tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS)
        };
        let grpc = tonic::transport::Server::builder()
            .layer(DeadlineLayer)
            .add_service(health)
            // Clients in use speak one or the other.
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?)
            .add_service(PredictionServiceServer::new(grpc::Door(Arc::clone(&predictor))))
            .add_service(FeatureServiceServer::new(grpc::Door(Arc::clone(&predictor))))
            .add_service(GrpcInferenceServiceServer::new(oip::Door(Arc::clone(&predictor))))
            // Replies are small: they must not wait to be joined with more.
            .serve_with_incoming_shutdown(
                TcpIncoming::from(grpc).with_nodelay(Some(true)),
                shutdown.clone().cancelled_owned(),
            );
        let router = rest::router(Door { predictor: Arc::clone(&predictor), registry })
            .layer(middleware::from_fn_with_state(hosts, rest::guard));
        let http = http.tap_io(|stream| {
            // Without it replies are later, not wrong.
            let _ = stream.set_nodelay(true);
        });
        let http = axum::serve(http, router).with_graceful_shutdown(shutdown.clone().cancelled_owned());
        // A part that fails ends the role: without it, the others would only seem to serve.
        let ended = tokio::try_join!(
            follow,
            async {
                tokio::join!(reports, figures, ships);
                Ok(())
            },
            async { Ok(grpc.await?) },
            async { anyhow::Ok(http.await?) },
        );
        // Whatever it was, what has been answered is kept.
        predictor.log.close();
        shipper.finish().await;
        ended.map(drop)
    }
}

/// Keeps what `grpc.health.v1` says, and what promotions wait for, in step with what is warm: at each change, and twice a
/// second for what changes by itself.
async fn report(
    reporter: HealthReporter,
    predictor: Arc<Predictor>,
    address: String,
    shutdown: CancellationToken,
) {
    let id = WorkerId::generate().to_string();
    let (mut changes, mut ticks) = (predictor.warm.changes(), interval(HEALTH_EVERY));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            _ = ticks.tick() => {}
            // The sender lives as long as the predictor.
            _ = changes.changed() => {}
        }
        let status =
            if predictor.readiness().ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        reporter.set_service_status("", status).await;
        reporter.set_service_status("tidemill.serving.v1.PredictionService", status).await;
        reporter.set_service_status("tidemill.features.v1.FeatureService", status).await;
        reporter.set_service_status("inference.GRPCInferenceService", status).await;
        let state = predictor.warm.state();
        for loaded in state.loaded.values() {
            predictor.metrics.processes(&loaded.model, loaded.version, loaded.pool.processes());
        }
        let said = replica(&predictor.seen.borrow(), &state, address.clone());
        // Said again soon; whoever waits for it sees that Redis is away.
        let _ = timeout(HEALTH_EVERY, predictor.online.say(&id, &said)).await;
    }
    let _ = timeout(HEALTH_EVERY, predictor.online.leave(&id)).await;
}

/// Writes how versions fare to Redis, every second, and once more at the end.
async fn write_figures(predictor: Arc<Predictor>, shutdown: CancellationToken) {
    let id = WorkerId::generate().to_string();
    let mut ticks = interval(FIGURES_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            _ = ticks.tick() => {}
        }
        let _ = timeout(FIGURES_MAX, predictor.write_figures(&id)).await;
    }
    let _ = timeout(FIGURES_MAX, predictor.write_figures(&id)).await;
}
