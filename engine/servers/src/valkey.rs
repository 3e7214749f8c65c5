//! A private Valkey that keeps what it acknowledged in an append-only file.

use std::{fs, path::Path, process::Command};

use rustix::process::Signal;

use crate::{
    Error, Server, Wheels,
    child::{free_port, listening},
    io,
};

/// A running Valkey.
#[derive(Debug)]
pub struct Valkey {
    server: Server,
    port: u16,
}

impl Valkey {
    /// Starts one on `dir`, on `port` or a free one, and waits until it answers.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(wheels: &Wheels, dir: &Path, port: Option<u16>) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(io(format!("make {}", dir.display())))?;
        let port = port.map_or_else(free_port, Ok).map_err(io("find a free port"))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "--"]).arg(&wheels.valkey_server);
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]).arg(dir);
        command.args(["--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--daemonize", "no"]);
        let server = Server::start(command, dir.join("valkey.log"), Signal::TERM)?;
        Ok(Self { server: server.await_ready("valkey", || listening(port))?, port })
    }

    /// How to connect.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// The port on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is gone, killed or by itself.
    pub fn ended(&mut self) -> bool {
        self.server.ended()
    }
}
