//! What can go wrong between this crate and its callers.

use std::{io, path::PathBuf};

use redis::{ErrorKind, RedisError};
use tidemill_core::{Cause, Fault, JobError};

/// A failed read or write of the online store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Redis is down, too slow, or refused a command. Trying again may help.
    #[error("redis did not answer")]
    Unavailable(#[source] RedisError),
    /// It can't be talked to in the way that its URL says.
    #[error("redis can't be reached as its URL says: {mismatch}")]
    Mismatch {
        /// What doesn't fit, and what would.
        mismatch: &'static str,
        /// What was met.
        source: RedisError,
    },
    /// The URL of Redis can't be read.
    #[error("`{url}` is not a redis url")]
    InvalidUrl {
        /// As given, without its password.
        url: String,
        /// Why.
        source: RedisError,
    },
    /// In what keys begin with, braces would put all of them on one server of a Cluster.
    #[error("the prefix `{prefix}` of keys in redis has braces: choose one without")]
    InvalidPrefix {
        /// As given.
        prefix: String,
    },
    /// A file of certificates can't be used.
    #[error("can't use {}", .file.display())]
    Certificate {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A stored value doesn't have the bytes that its view version writes.
    #[error("stored value of view `{view}` v{version} is unreadable: {reason}")]
    Unreadable {
        /// The view.
        view: String,
        /// Its version.
        version: u32,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A view that is read has nothing online.
    #[error("view `{view}` is not online")]
    NotOnline {
        /// The view.
        view: String,
    },
    /// Redis has lost all values of a view; they are written again from the lake.
    #[error("Redis has lost the values of view `{view}` version {version}; they are being written again")]
    ValuesLost {
        /// The view.
        view: String,
        /// The version that is read.
        version: u32,
    },
    /// Features that are computed when they are asked can't be.
    #[error("view `{view}` can't be computed")]
    Expressions {
        /// The view.
        view: String,
        /// Why.
        source: tidemill_expressions::Error,
    },
    /// A value to be stored doesn't fit the view's columns.
    #[error("column `{column}` of view `{view}` can't store {value}")]
    WrongColumn {
        /// The view.
        view: String,
        /// The column.
        column: String,
        /// What was offered.
        value: String,
    },
    /// A part of the live set is not what this release can read.
    #[error("the live set's {part} can't be read")]
    InvalidLiveSet {
        /// `clock`, `views` or `models`.
        part: &'static str,
        /// Why.
        source: serde_json::Error,
    },
}

impl Error {
    /// Whose doing it was.
    pub fn cause(&self) -> Cause {
        match self {
            Self::Unavailable(error) => cause(error),
            // Whoever sets it right has to be waited for.
            Self::Mismatch { .. } => Cause::Outage,
            Self::Unreadable { .. }
            | Self::InvalidLiveSet { .. }
            | Self::ValuesLost { .. }
            | Self::Expressions { .. } => Cause::Unknown,
            Self::InvalidUrl { .. }
            | Self::InvalidPrefix { .. }
            | Self::Certificate { .. }
            | Self::WrongColumn { .. }
            | Self::NotOnline { .. } => Cause::Refusal,
        }
    }
}

impl From<RedisError> for Error {
    fn from(source: RedisError) -> Self {
        match mismatch(&source) {
            Some(mismatch) => Self::Mismatch { mismatch, source },
            None => Self::Unavailable(source),
        }
    }
}

/// What doesn't fit between the URL and the server, by what the libraries say of the first bytes that come.
fn mismatch(error: &RedisError) -> Option<&'static str> {
    let said = error.to_string();
    let known = [
        (
            "invalid peer certificate: certificate not valid for name",
            "its certificate is of another host; the URL must name the host as the certificate does",
        ),
        (
            "invalid peer certificate",
            "its certificate is not trusted; TIDEMILL_REDIS__CA_FILE names whom to trust",
        ),
        (
            "CertificateRequired",
            "it asks for a certificate; name ours in TIDEMILL_REDIS__CERT_FILE and TIDEMILL_REDIS__KEY_FILE",
        ),
        ("InvalidContentType", "it speaks no TLS; the URL must begin with `redis`, not `rediss`"),
        // The first byte of an alert, where a reply was expected.
        ("Unexpected `21`", "it speaks TLS; the URL must begin with `rediss`, not `redis`"),
        ("cluster support disabled", "it is no Cluster; the URL must begin without `+cluster`"),
    ];
    if error.code() == Some("MOVED") {
        return Some(
            "it is one server of a Cluster; the URL must begin with `redis+cluster` or `rediss+cluster`",
        );
    }
    known.into_iter().find_map(|(sign, mismatch)| said.contains(sign).then_some(mismatch))
}

/// Whose doing a failed command was: the one judgement of Redis.
fn cause(error: &RedisError) -> Cause {
    // It loads, is a replica or looks for its master, has given its keys away, is full in memory or on disk, or runs a
    // long script.
    const AWAY: [&str; 11] = [
        "LOADING",
        "READONLY",
        "MASTERDOWN",
        "CLUSTERDOWN",
        "TRYAGAIN",
        "MOVED",
        "ASK",
        "OOM",
        "MISCONF",
        "NOREPLICAS",
        "BUSY",
    ];
    match error.kind() {
        ErrorKind::Io
        | ErrorKind::MasterNameNotFoundBySentinel
        | ErrorKind::NoValidReplicasFoundBySentinel
        | ErrorKind::ClusterConnectionNotFound => Cause::Outage,
        _ if error.code().is_some_and(|code| AWAY.contains(&code)) => Cause::Outage,
        _ => Cause::Unknown,
    }
}

/// What becomes of a job is the cause's.
impl From<Error> for JobError {
    fn from(error: Error) -> Self {
        error.cause().verdict(Fault::from_error(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> Cause {
        let reply = redis::parse_redis_value(format!("-{line}\r\n").as_bytes());
        cause(&reply.and_then(redis::Value::extract_error).expect_err("an error was sent"))
    }

    #[test]
    fn a_redis_that_loads_is_full_or_is_no_master_is_away_and_one_that_forbids_is_not() {
        for away in ["LOADING dataset", "READONLY replica", "MASTERDOWN link", "OOM command", "MISCONF rdb"] {
            assert_eq!(said(away), Cause::Outage, "{away}");
        }
        for other in ["NOPERM this user", "WRONGTYPE a list", "ERR unknown command"] {
            assert_eq!(said(other), Cause::Unknown, "{other}");
        }
        assert_eq!(cause(&RedisError::from(std::io::Error::other("reset"))), Cause::Outage);
    }
}
