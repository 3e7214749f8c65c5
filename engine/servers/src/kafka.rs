//! A private broker of Apache Kafka: one node that is its own controller.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use rustix::process::Signal;

use crate::{Error, Jars, Server, io, listens, secret::random};

/// What the broker's memory and start-up are held to: one user's topics, not a cluster's.
const JVM: [&str; 6] = [
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-Djava.net.preferIPv4Stack=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
];

/// A running broker.
#[derive(Debug)]
pub struct Kafka {
    server: Server,
    port: u16,
}

impl Kafka {
    /// Starts one on `dir`, on two ports that the caller has claimed, and waits until it answers on the first. An empty `dir`
    /// becomes a new cluster.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(jars: &Jars, dir: &Path, port: u16, controller_port: u16) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(io(format!("make {}", dir.display())))?;
        let dir = &dir.canonicalize().map_err(io(format!("open {}", dir.display())))?;
        fs::write(dir.join("server.properties"), properties(port, controller_port))
            .map_err(io("write the broker's settings"))?;
        if !dir.join("data/meta.properties").exists() {
            format(jars, dir)?;
        }
        let mut command = Command::new("setpriv");
        // At once: who starts it again on the same data doesn't have to wait. It recovers as from any crash.
        command.args(["--pdeathsig", "KILL", "--"]).arg(&jars.java).args(JVM);
        command.arg("-cp").arg(jars.class_path()).args(["kafka.Kafka", "server.properties"]);
        in_folder(&mut command, dir);
        let server = Server::start(command, dir.join("kafka.log"), Signal::TERM)?;
        let server = server.await_ready("kafka", |pid| listens(pid, port))?;
        Ok(Self { server, port })
    }

    /// How to connect, as `bootstrap.servers`.
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The broker's process id.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Whether it is gone, killed or by itself.
    pub fn ended(&mut self) -> bool {
        self.server.ended()
    }
}

/// The settings of one node. Paths are relative to its folder: a properties file can't hold every name of one.
fn properties(port: u16, controller_port: u16) -> String {
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=data
# A producer makes its topic by sending to it.
auto.create.topics.enable=true
num.partitions=4
# Records of a replay bear times of the past: by these they would be deleted as soon as they arrive.
log.retention.ms=-1
# One node keeps its own topics, each in one partition.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
# Killed and started again, it waits until its former self counts as gone: nine seconds otherwise. Less, and a busy machine
# would take it for gone while it runs.
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=1000
# A third of the heap otherwise.
log.cleaner.dedupe.buffer.size=16777216
"
    )
}

/// Makes the folder a new cluster with an id of its own.
fn format(jars: &Jars, dir: &Path) -> Result<(), Error> {
    let id = random().map_err(io("make a cluster id"))?;
    let mut command = Command::new(&jars.java);
    command.args(JVM).arg("-cp").arg(jars.class_path());
    command.args(["kafka.tools.StorageTool", "format", "-t", &id, "-c", "server.properties"]);
    in_folder(&mut command, dir);
    let output = command.stdin(Stdio::null()).output().map_err(io("start java"))?;
    if output.status.success() {
        return Ok(());
    }
    let log = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::NotReady { server: "kafka's StorageTool", log })
}

/// Java finds no file in a folder whose name its locale can't spell.
fn in_folder(command: &mut Command, dir: &Path) {
    command.current_dir(dir).env("LC_ALL", "C.UTF-8");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Port;

    fn jars() -> Jars {
        let python = std::env::var("TIDEMILL_PYTHON").unwrap_or_else(|_| {
            format!("{}/.cache/tidemill/venv/bin/python", std::env::var("HOME").unwrap_or_default())
        });
        Jars::locate(Path::new(&python)).unwrap()
    }

    #[test]
    fn a_broker_stays_the_same_cluster_when_it_starts_again_on_other_ports() {
        let (jars, dir) = (jars(), tempfile::tempdir().unwrap());
        // A name that a properties file could not hold.
        let dir = dir.path().join("größe, a=b\\n");
        let cluster = || {
            let text = fs::read_to_string(dir.join("data/meta.properties")).unwrap();
            text.lines().find(|line| line.starts_with("cluster.id=")).unwrap().to_owned()
        };
        let ids = [0, 1].map(|_| {
            let (port, controller) = (Port::any().unwrap(), Port::any().unwrap());
            let mut kafka = Kafka::start(&jars, &dir, port.number(), controller.number()).unwrap();
            assert!(!kafka.ended());
            assert_eq!(kafka.brokers(), format!("127.0.0.1:{}", port.number()));
            cluster()
        });
        assert_eq!(ids[0], ids[1]);
    }
}
