//! What the role is started with.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use tidemill_blobs::{BlobOptions, private_default};
use tidemill_online::OnlineOptions;
use tidemill_pyrun::PyOptions;

use crate::LogOptions;

/// How predictions are served.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where gRPC listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where REST, probes and metrics listen; port 0 takes a free one.
    pub http: SocketAddr,
    /// Names under which REST is answered beside `localhost` and addresses of loopback, separated by commas.
    pub hosts: String,
    /// Feature values and the live set.
    pub online: OnlineOptions,
    /// Model folders.
    pub blobs: BlobOptions,
    /// The Python of models; how many processes is each model's own setting.
    pub python: PyOptions,
    /// Longest a prediction may take, unless the caller allows less.
    pub deadline: Duration,
    /// Most entities of one request.
    pub entities_max: usize,
    /// Where the code of projects is unpacked, a folder that only we may write to.
    pub unpacked: PathBuf,
    /// How predictions are logged.
    pub log: LogOptions,
    /// Whether an address that other machines reach is taken, although there is no authentication yet.
    pub insecure: bool,
    /// How often the live set is looked at.
    pub watch_every: Duration,
}

impl Options {
    /// The ports of the documentation on loopback, 5 s a request, 1,000 entities, a look each 250 ms.
    pub fn new(online: OnlineOptions, blobs: BlobOptions, python: PathBuf) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7435)),
            http: SocketAddr::from(([127, 0, 0, 1], 7436)),
            hosts: String::new(),
            online,
            blobs,
            python: PyOptions { python, ..PyOptions::default() },
            deadline: Duration::from_secs(5),
            entities_max: 1000,
            unpacked: private_default("unpacked"),
            log: LogOptions::default(),
            insecure: false,
            watch_every: Duration::from_millis(250),
        }
    }
}
