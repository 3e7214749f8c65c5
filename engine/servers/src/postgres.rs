//! A private Postgres.
//!
//! Postgres refuses to run as root. Root therefore starts it in a user namespace of its own, where it is
//! somebody else and yet owns its files; where namespaces are forbidden (most containers), as `nobody` on copies
//! below `/var/tmp`, since `nobody` may not enter root's folders.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::process::{Signal, geteuid};

use crate::{
    Error, Server, Wheels, io, listens,
    secret::{random, read, write_private},
};

const NOBODY: u32 = 65534;

/// What a crash of the machine may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing that was committed.
    Full,
    /// Everything: for tests.
    None,
}

/// A running Postgres with a database `tidemill` of the user `tidemill`.
#[derive(Debug)]
pub struct Postgres {
    server: Server,
    port: u16,
    password: String,
}

impl Postgres {
    /// Starts one on `dir`, on a port that the caller has claimed, and waits until it answers. An empty `dir` becomes a
    /// new cluster.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(wheels: &Wheels, dir: &Path, port: u16, durability: Durability) -> Result<Self, Error> {
        let identity = Identity::choose(wheels, dir)?;
        let cluster = identity.dir.join("cluster");
        if !cluster.join("PG_VERSION").exists() {
            identity.init(&cluster)?;
        }
        // A postmaster that was killed leaves its pid file; ours never runs twice on one folder.
        let _ = fs::remove_file(cluster.join("postmaster.pid"));
        let password = identity.password(&dir.join("password"), &cluster)?;
        let mut command = identity.command("postgres", Some("INT"));
        command.arg("-D").arg(&cluster);
        let mut settings = vec![
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={port}"),
            "unix_socket_directories=".to_owned(),
            "max_connections=200".to_owned(),
            "idle_in_transaction_session_timeout=60s".to_owned(),
        ];
        if durability == Durability::None {
            settings
                .extend(["fsync=off", "full_page_writes=off", "synchronous_commit=off"].map(str::to_owned));
        }
        for setting in settings {
            command.args(["-c", &setting]);
        }
        let server = Server::start(command, dir.join("postgres.log"), Signal::INT)?;
        let server = server.await_ready("postgres", |pid| accepts(&cluster) && listens(pid, port))?;
        Ok(Self { server, port, password })
    }

    /// How to connect to the database `tidemill`.
    pub fn url(&self) -> String {
        format!("postgres://tidemill:{}@127.0.0.1:{}/tidemill", self.password, self.port)
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

/// As whom Postgres runs, on which files.
struct Identity {
    bin: PathBuf,
    dir: PathBuf,
    prefix: Vec<&'static str>,
}

impl Identity {
    fn choose(wheels: &Wheels, dir: &Path) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(io(format!("make {}", dir.display())))?;
        let dir = dir.canonicalize().map_err(io(format!("open {}", dir.display())))?;
        let bin = wheels.postgres_bin.clone();
        if !geteuid().is_root() {
            return Ok(Self { bin, dir, prefix: Vec::new() });
        }
        let namespace = ["unshare", "--user", "--map-user=65534", "--"];
        if succeeds(Command::new(namespace[0]).args(&namespace[1..]).arg("true")) {
            return Ok(Self { bin, dir, prefix: namespace.to_vec() });
        }
        let prefix = vec!["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];
        let (bin, dir) = readable_by_nobody(&bin, &dir)?;
        Ok(Self { bin, dir, prefix })
    }

    fn command(&self, program: &str, death_signal: Option<&str>) -> Command {
        let mut words: Vec<&str> = self.prefix.clone();
        if let Some(signal) = death_signal {
            // Last before the program: a change of identity would clear it.
            words.extend(["setpriv", "--pdeathsig", signal, "--"]);
        }
        let program = self.bin.join(program);
        let Some((first, rest)) = words.split_first() else { return Command::new(program) };
        let mut command = Command::new(first);
        command.args(rest).arg(program);
        command
    }

    fn init(&self, cluster: &Path) -> Result<(), Error> {
        let mut command = self.command("initdb", None);
        command.arg("-D").arg(cluster).args([
            "-U",
            "tidemill",
            "--auth=trust",
            "-E",
            "UTF8",
            "--locale=C",
            "-N",
        ]);
        let output = command.stdin(Stdio::null()).output().map_err(io("start initdb"))?;
        if !output.status.success() {
            let log = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Error::NotReady { server: "initdb", log });
        }
        Ok(())
    }

    /// The password of the user `tidemill`, kept in `file`. A cluster without one gets it here, before it listens, and
    /// its database: it is new, or was made when everybody on the machine was let in and has a database already.
    fn password(&self, file: &Path, cluster: &Path) -> Result<String, Error> {
        if let Some(password) = read(file) {
            return Ok(password);
        }
        let password = random().map_err(io("make a password"))?;
        // What is random needs no rounds against guessing; each new session would pay for them.
        let statements = format!(
            "CREATE DATABASE tidemill\nSET scram_iterations = 1\nALTER ROLE tidemill PASSWORD '{password}'\n"
        );
        self.single_user(cluster, &statements)?;
        fs::write(cluster.join("pg_hba.conf"), "host all all 127.0.0.1/32 scram-sha-256\n")
            .map_err(io("ask for the password"))?;
        // Last: a start that was cut short sets another one.
        write_private(file, &password).map_err(io(format!("write {}", file.display())))?;
        Ok(password)
    }

    /// Runs statements, one a line, before the server is started: no client is needed.
    fn single_user(&self, cluster: &Path, statements: &str) -> Result<(), Error> {
        use std::io::Write as _;
        let mut command = self.command("postgres", None);
        command.arg("--single").arg("-D").arg(cluster).arg("postgres");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(io("start postgres once"))?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(statements.as_bytes()).map_err(io("prepare the database"))?;
        }
        let status = child.wait().map_err(io("prepare the database"))?;
        if status.success() {
            return Ok(());
        }
        Err(Error::NotReady { server: "postgres", log: format!("its preparation ended: {status}") })
    }
}

/// Copies the programs, once, and moves the data folder to where `nobody` may enter.
fn readable_by_nobody(bin: &Path, dir: &Path) -> Result<(PathBuf, PathBuf), Error> {
    let install = bin.parent().unwrap_or(bin);
    let root = PathBuf::from("/var/tmp/tidemill");
    let programs = root.join("postgres");
    if !programs.join("bin/postgres").exists() {
        fs::create_dir_all(&root).map_err(io("make a folder below /var/tmp"))?;
        let copied = succeeds(Command::new("cp").arg("-rT").arg(install).arg(&programs))
            && succeeds(Command::new("chmod").args(["-R", "a+rX"]).arg(&root));
        if !copied {
            return Err(Error::NotReady {
                server: "postgres",
                log: "its programs could not be copied".to_owned(),
            });
        }
    }
    let name = dir.to_string_lossy().replace('/', "-");
    let data = root.join(name.trim_matches('-'));
    fs::create_dir_all(&data).map_err(io(format!("make {}", data.display())))?;
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).map_err(io("protect the data folder"))?;
    chown(&data, Some(NOBODY), Some(NOBODY)).map_err(io("give the data folder away"))?;
    Ok((programs.join("bin"), data))
}

fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// The postmaster writes its state into the eighth line of its pid file.
fn accepts(cluster: &Path) -> bool {
    fs::read_to_string(cluster.join("postmaster.pid"))
        .is_ok_and(|text| text.lines().nth(7).is_some_and(|state| state.trim() == "ready"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Port;

    fn wheels() -> Wheels {
        let python = std::env::var("TIDEMILL_PYTHON").unwrap_or_else(|_| {
            format!("{}/.cache/tidemill/venv/bin/python", std::env::var("HOME").unwrap_or_default())
        });
        Wheels::locate(Path::new(&python)).unwrap()
    }

    /// Whether a session can be opened.
    fn answers(wheels: &Wheels, url: &str) -> bool {
        let client = wheels.postgres_bin.join("psql");
        succeeds(Command::new(client).args(["--no-password", "-c", "SELECT 1", url]))
    }

    #[test]
    fn a_cluster_starts_stops_and_starts_again_with_its_database() {
        let (wheels, dir) = (wheels(), tempfile::tempdir().unwrap());
        for _ in 0..2 {
            let port = Port::any().unwrap();
            let postgres = Postgres::start(&wheels, dir.path(), port.number(), Durability::None).unwrap();
            assert!(answers(&wheels, &postgres.url()));
        }
    }

    #[test]
    fn nobody_gets_in_without_the_password_also_not_into_a_cluster_from_before() {
        let (wheels, dir) = (wheels(), tempfile::tempdir().unwrap());
        let port = Port::any().unwrap();
        let start = || Postgres::start(&wheels, dir.path(), port.number(), Durability::None).unwrap();
        drop(start());
        // As it was made before: everybody is let in, and there is no password.
        let hba = Identity::choose(&wheels, dir.path()).unwrap().dir.join("cluster/pg_hba.conf");
        fs::write(hba, "host all all 127.0.0.1/32 trust\n").unwrap();
        fs::remove_file(dir.path().join("password")).unwrap();
        let postgres = start();
        assert!(answers(&wheels, &postgres.url()));
        let open = format!("postgres://tidemill@127.0.0.1:{}/tidemill", port.number());
        assert!(!answers(&wheels, &open));
        let rights = fs::metadata(dir.path().join("password")).unwrap().permissions().mode();
        assert_eq!(rights & 0o777, 0o600);
    }
}
