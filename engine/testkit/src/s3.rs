//! A bucket of its own for each test, on one `SeaweedFS` server that speaks the S3 protocol.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use tidemill_servers::{Port, with_parent};
use uuid::Uuid;

use crate::servers;

/// An empty bucket and how to reach it.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// The server, e.g. `http://127.0.0.1:8333`.
    pub endpoint: String,
    /// The bucket's name.
    pub name: String,
    /// Any key is accepted: the server has no users.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// Any region is accepted.
    pub region: String,
}

/// A fresh bucket on the shared server.
pub async fn bucket() -> anyhow::Result<Bucket> {
    tokio::task::spawn_blocking(|| {
        let server = shared_server()?;
        let name = format!("test-{}", Uuid::now_v7().simple());
        server.make_bucket(&name)?;
        Ok(Bucket {
            endpoint: format!("http://127.0.0.1:{}", server.s3),
            name,
            access_key: "test".to_owned(),
            secret_key: "test".to_owned(),
            region: "us-east-1".to_owned(),
        })
    })
    .await?
}

fn shared_server() -> anyhow::Result<&'static Server> {
    static SERVER: OnceLock<Result<Server, String>> = OnceLock::new();
    match SERVER.get_or_init(|| Server::start().map_err(|error| format!("{error:#}"))) {
        Ok(server) => Ok(server),
        Err(error) => bail!("{error}"),
    }
}

#[derive(Debug)]
struct Server {
    filer: u16,
    s3: u16,
    _claimed: [Port; 4],
    _child: Child,
}

impl Server {
    fn start() -> anyhow::Result<Self> {
        let folder = servers::folder("seaweedfs")?;
        let weed = servers::python()?.with_file_name("weed");
        let claimed = [port()?, port()?, port()?, port()?];
        let [master, volume, filer, s3] = claimed.each_ref().map(Port::number);
        let log = File::create(folder.join("log"))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(weed).args([
            "server",
            "-ip=127.0.0.1",
            "-filer",
            "-s3",
            // Catalogs that nobody asks for, on ports that another test's server may have.
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
        ]);
        command.arg(format!("-dir={}", folder.display()));
        for (role, port) in [("master", master), ("volume", volume), ("filer", filer), ("s3", s3)] {
            command.arg(format!("-{role}.port={port}"));
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let server =
            Self { filer, s3, _claimed: claimed, _child: with_parent(command).context("starting weed")? };
        server.wait()?;
        Ok(server)
    }

    /// Its roles come up one by one; a bucket that can be made means all of them are there.
    fn wait(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_mins(1);
        while TcpStream::connect(("127.0.0.1", self.s3)).is_err() || self.make_bucket("ready").is_err() {
            ensure!(Instant::now() < deadline, "SeaweedFS is not ready after a minute");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// A bucket is a folder of the filer.
    fn make_bucket(&self, name: &str) -> anyhow::Result<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.filer))?;
        write!(stream, "POST /buckets/{name}/ HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n")?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        let status = reply.lines().next().unwrap_or_default();
        ensure!(status.contains(" 20"), "making the bucket {name}: {status}");
        Ok(())
    }
}

/// A free port that leaves room for the port 10,000 above it, where each role speaks gRPC.
fn port() -> anyhow::Result<Port> {
    (0..1000)
        .find_map(|_| Port::any().ok().filter(|port| port.number() < 55_000))
        .context("no free port below 55,000")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_bucket_is_new() {
        let (first, second) = (bucket().await.unwrap(), bucket().await.unwrap());
        assert_ne!(first.name, second.name);
        assert_eq!(first.endpoint, second.endpoint);
    }
}
