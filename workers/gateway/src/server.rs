//! Binds, serves, drains.

use std::net::SocketAddr;

use anyhow::Context as _;
use serde::Deserialize;
use tidemill_core::check_bind;
use tidemill_ingest::Ingest;
use tidemill_proto::{DESCRIPTORS, DeadlineLayer, ingest::v1::ingest_service_server::IngestServiceServer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;

use crate::upload::Door;

/// What the role is started with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Where gRPC listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether an address that other machines reach is taken, although there is no authentication yet.
    pub insecure: bool,
}

impl Default for Options {
    /// The port of the documentation, on loopback.
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 7434)), insecure: false }
    }
}

/// Bound, not serving yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    door: Door,
}

impl Server {
    /// Binds the port.
    ///
    /// # Errors
    /// The port is taken, or the address is one that other machines reach.
    pub async fn bind(options: &Options, ingest: Ingest) -> anyhow::Result<Self> {
        let address = options.listen;
        check_bind(address, options.insecure)?;
        let listener =
            TcpListener::bind(address).await.with_context(|| format!("gRPC can't listen on {address}"))?;
        Ok(Self { listener, door: Door::new(ingest) })
    }

    /// Where it listens.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown`, then answers what has begun.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_serving::<IngestServiceServer<Door>>().await;
        let reflection = || {
            tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS)
        };
        tonic::transport::Server::builder()
            .layer(DeadlineLayer)
            .add_service(health)
            // Clients in use speak one or the other.
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?)
            .add_service(IngestServiceServer::new(self.door))
            .serve_with_incoming_shutdown(
                TcpIncoming::from(self.listener).with_nodelay(Some(true)),
                shutdown.cancelled_owned(),
            )
            .await
            .context("gateway")
    }
}
