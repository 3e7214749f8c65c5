//! A private Valkey that keeps what it acknowledged in an append-only file.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::Signal;

use crate::{
    Error, Server, Wheels, io, listens,
    secret::{random, read, write_private},
};

/// A running Valkey.
#[derive(Debug)]
pub struct Valkey {
    server: Server,
    port: u16,
    password: String,
}

impl Valkey {
    /// Starts one on `dir`, on a port that the caller has claimed, and waits until it listens there.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(wheels: &Wheels, dir: &Path, port: u16) -> Result<Self, Error> {
        Self::start_with(wheels, dir, port, &[])
    }

    /// The same with more settings, as lines of its configuration. A folder keeps the password that it has.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start_with(wheels: &Wheels, dir: &Path, port: u16, settings: &[String]) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(io(format!("make {}", dir.display())))?;
        let dir = &dir.canonicalize().map_err(io(format!("open {}", dir.display())))?;
        let (password, file) = configured(dir, settings).map_err(io("write the settings"))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "--"]).arg(&wheels.valkey_server).arg(file);
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]).arg(dir);
        command.args(["--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--daemonize", "no"]);
        let server = Server::start(command, dir.join("valkey.log"), Signal::TERM)?;
        let server = server.await_ready("valkey", |pid| listens(pid, port))?;
        Ok(Self { server, port, password })
    }

    /// How to connect.
    pub fn url(&self) -> String {
        format!("redis://:{}@127.0.0.1:{}", self.password, self.port)
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

/// The folder's password, made when it has none, and the file of settings that tells the server: a command line can be
/// read by everybody.
fn configured(dir: &Path, settings: &[String]) -> std::io::Result<(String, PathBuf)> {
    let (kept, file) = (dir.join("password"), dir.join("valkey.conf"));
    let password = match read(&kept) {
        Some(password) => password,
        None => random()?,
    };
    let lines: String = settings.iter().map(|line| format!("{line}\n")).collect();
    write_private(&file, &format!("requirepass {password}\n{lines}"))?;
    write_private(&kept, &password)?;
    Ok((password, file))
}
