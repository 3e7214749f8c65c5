//! How Redis is reached: one server or a Cluster, in plain or with TLS.
//!
//! One multiplexed connection to each server is shared by every caller of a process, so concurrent reads travel
//! together. It is made when first used and again whenever it was lost; until then calls fail. Of a Cluster each command
//! goes to the server that has its key: what moved to another one, or whose primary is being replaced, is asked again for
//! as long as [`RESPONSE_TIMEOUT`]. So a key is all that a command may touch.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::future::try_join_all;
use redis::{
    Client, ClientTlsConfig, Cmd, ErrorKind, FromRedisValue, RedisError, TlsCertificates,
    aio::{ConnectionManager, ConnectionManagerConfig},
    cluster::{ClusterClient, ClusterConfig},
    cluster_async::ClusterConnection,
};
use serde::Deserialize;

use crate::error::Error;

const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(2);
/// Until the timeout, however short the waits between were drawn.
const CLUSTER_RETRIES: u32 = 30;
/// A replica takes over within a second or two; whoever asks more often than this finds it no sooner.
const CLUSTER_WAIT_MS: (u64, u64) = (20, 400);

/// Where Redis is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnlineOptions {
    /// `redis://HOST:PORT[/DB]`, or some servers of a Cluster: `redis+cluster://HOST:PORT,HOST:PORT`. With TLS `rediss://`
    /// and `rediss+cluster://`. `unix:///PATH`.
    pub url: String,
    /// What every key begins with; one for each installation.
    #[serde(default = "default_prefix")]
    pub prefix: String,
    /// Whom to trust for its certificate, in PEM; default: whom the system trusts.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// The certificate that we show, in PEM, for a Redis that asks for one; with `key_file`.
    #[serde(default)]
    pub cert_file: Option<PathBuf>,
    /// Its private key, in PEM.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
}

fn default_prefix() -> String {
    "tidemill".to_owned()
}

impl OnlineOptions {
    /// A Redis whose certificate, if it has one, is of an authority that the system trusts.
    pub fn new(url: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self { url: url.into(), prefix: prefix.into(), ca_file: None, cert_file: None, key_file: None }
    }
}

/// Clones share one connection to each server.
#[derive(Clone)]
pub(crate) enum Connection {
    Server(ConnectionManager),
    /// And one of the servers that were named, to be asked why none can be reached.
    Cluster(ClusterConnection, Box<Client>),
}

impl Connection {
    /// Prepares it. In a tokio runtime, for that of a Cluster is made behind the scenes.
    pub(crate) fn open(options: &OnlineOptions) -> Result<Self, Error> {
        if options.prefix.contains(['{', '}']) {
            return Err(Error::InvalidPrefix { prefix: options.prefix.clone() });
        }
        let invalid = |source| Error::InvalidUrl { url: without_password(&options.url), source };
        let certificates = certificates(options)?;
        if options.url.starts_with("rediss") {
            // Which of the libraries that a build may hold does the arithmetic must not depend on who else is linked. If
            // somebody has chosen already, that is as good.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        } else if certificates.is_some() {
            let kind = ErrorKind::InvalidClientConfig;
            return Err(invalid(
                (kind, "files of certificates are for `rediss://` and `rediss+cluster://`").into(),
            ));
        }
        let client = |url: &str| match &certificates {
            Some(certificates) => Client::build_with_tls(url, certificates.clone()),
            None => Client::open(url),
        };
        let Some(nodes) = nodes(&options.url) else {
            let config = ConnectionManagerConfig::new()
                .set_connection_timeout(Some(CONNECTION_TIMEOUT))
                .set_response_timeout(Some(RESPONSE_TIMEOUT))
                .set_number_of_retries(1);
            let client = client(&options.url).map_err(invalid)?;
            return Ok(Self::Server(
                ConnectionManager::new_lazy_with_config(client, config).map_err(invalid)?,
            ));
        };
        let first = client(&nodes[0]).map_err(invalid)?;
        let mut builder = ClusterClient::builder(nodes)
            .retries(CLUSTER_RETRIES)
            .min_retry_wait(CLUSTER_WAIT_MS.0)
            .max_retry_wait(CLUSTER_WAIT_MS.1);
        if let Some(certificates) = certificates {
            builder = builder.certs(certificates);
        }
        let config = ClusterConfig::new()
            .set_connection_timeout(CONNECTION_TIMEOUT)
            .set_response_timeout(RESPONSE_TIMEOUT);
        let cluster = builder.build().map_err(invalid)?;
        Ok(Self::Cluster(cluster.get_pending_async_connection_with_config(config), Box::new(first)))
    }

    /// What one command says.
    pub(crate) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        match self {
            Self::Server(connection) => command.query_async(&mut connection.clone()).await,
            Self::Cluster(connection, first) => match command.query_async(&mut connection.clone()).await {
                Err(error) => Err(why(error, first).await),
                said => said,
            },
        }
    }

    /// What each of some commands says, in their order: one round trip to each server that has keys of theirs. They are not
    /// one step, and of a Cluster in no order.
    pub(crate) async fn ask_each<T: FromRedisValue>(&self, commands: &[Cmd]) -> Result<Vec<T>, RedisError> {
        match self {
            _ if commands.is_empty() => Ok(Vec::new()),
            Self::Server(connection) => {
                let mut pipeline = redis::Pipeline::with_capacity(commands.len());
                for command in commands {
                    pipeline.add_command(command.clone());
                }
                pipeline.query_async(&mut connection.clone()).await
            }
            // The connection to a server is one for all, so those for it travel together.
            Self::Cluster(..) => try_join_all(commands.iter().map(|command| self.ask(command))).await,
        }
    }
}

/// Of a Cluster that can't be reached at all nothing is said but that: one of its servers tells more.
async fn why(error: RedisError, first: &Client) -> RedisError {
    if error.kind() != ErrorKind::ClusterConnectionNotFound {
        return error;
    }
    let asking = async {
        let mut connection = first.get_multiplexed_async_connection().await?;
        redis::cmd("CLUSTER").arg("SLOTS").query_async::<redis::Value>(&mut connection).await
    };
    match tokio::time::timeout(CONNECTION_TIMEOUT, asking).await {
        Ok(Err(reason)) => reason,
        _ => error,
    }
}

/// The servers of a Cluster's URL, each as a URL of its own; `None`: it is not one of a Cluster.
fn nodes(url: &str) -> Option<Vec<String>> {
    let (scheme, rest) = url.split_once("+cluster://")?;
    let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (user, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
    Some(hosts.split(',').map(|host| format!("{scheme}://{user}{host}{rest}")).collect())
}

/// A URL as it may be shown.
fn without_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!("{}…{}", &url[..scheme + 3], &url[at..]),
        _ => url.to_owned(),
    }
}

/// What the files say, if any are named.
fn certificates(options: &OnlineOptions) -> Result<Option<TlsCertificates>, Error> {
    let OnlineOptions { ca_file, cert_file, key_file, .. } = options;
    let read =
        |file: &Path| fs::read(file).map_err(|source| Error::Certificate { file: file.to_owned(), source });
    let client_tls = match (cert_file, key_file) {
        (Some(certificate), Some(key)) => {
            Some(ClientTlsConfig { client_cert: read(certificate)?, client_key: read(key)? })
        }
        (None, None) => None,
        (Some(alone), None) | (None, Some(alone)) => {
            let source = io::Error::other("`cert_file` and `key_file` belong together");
            return Err(Error::Certificate { file: alone.clone(), source });
        }
    };
    let root_cert = ca_file.as_deref().map(read).transpose()?;
    let named = client_tls.is_some() || root_cert.is_some();
    Ok(named.then_some(TlsCertificates { client_tls, root_cert }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clusters_url_names_its_servers_and_another_s_names_none() {
        assert_eq!(nodes("redis://a:1"), None);
        assert_eq!(nodes("redis+cluster://a:1").unwrap(), ["redis://a:1"]);
        assert_eq!(
            nodes("rediss+cluster://me:p%40ss@a:1,b:2/?protocol=resp3").unwrap(),
            ["rediss://me:p%40ss@a:1/?protocol=resp3", "rediss://me:p%40ss@b:2/?protocol=resp3"]
        );
    }

    #[test]
    fn what_cant_be_meant_is_refused_without_telling_the_password() {
        let refused = |change: fn(&mut OnlineOptions)| {
            let mut options = OnlineOptions::new("rediss://:secret@localhost:1", "p");
            change(&mut options);
            match Connection::open(&options) {
                Err(error) => tidemill_core::Fault::from_error(&error).message,
                Ok(_) => panic!("{options:?} was taken"),
            }
        };
        let told = refused(|options| options.url = "http://:secret@localhost:1".into());
        assert!(told.starts_with("`http://…@localhost:1` is not a redis url"), "{told}");
        let told = refused(|options| {
            options.url = "redis://localhost:1".into();
            options.ca_file = Some("/dev/null".into());
        });
        assert!(told.contains("are for `rediss://`"), "{told}");
        let told = refused(|options| options.key_file = Some("key.pem".into()));
        assert_eq!(told, "can't use key.pem: `cert_file` and `key_file` belong together");
        let told = refused(|options| options.ca_file = Some("nowhere.pem".into()));
        assert!(told.starts_with("can't use nowhere.pem: No such file"), "{told}");
        let told = refused(|options| options.prefix = "a{b}".into());
        assert!(told.contains("`a{b}`"), "{told}");
    }
}
