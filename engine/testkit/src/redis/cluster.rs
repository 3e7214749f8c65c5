//! A Cluster of its own for tests that break it: three primaries, each with a replica.

use std::{future::Future, path::PathBuf, time::Duration};

use anyhow::{Context as _, ensure};
use redis::{Cmd, FromRedisValue};
use tidemill_servers::{Port, Valkey, write_private};
use uuid::Uuid;

use super::connection;
use crate::servers;

const PRIMARIES: usize = 3;
const SLOTS: usize = 16_384;
/// Silence after which a server counts as gone.
const NODE_TIMEOUT_MS: u32 = 1_000;
const FORMED_WITHIN: Duration = Duration::from_mins(1);

/// Six servers on loopback; stopped when dropped.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    password: String,
}

#[derive(Debug)]
struct Node {
    folder: PathBuf,
    port: Port,
    /// Where servers talk among themselves.
    bus: Port,
    running: Option<Valkey>,
}

impl Cluster {
    /// Starts it, and waits until every key has a server and every replica what its primary has.
    pub async fn start() -> anyhow::Result<Self> {
        let password = Uuid::now_v7().simple().to_string();
        let mut nodes =
            (0..2 * PRIMARIES).map(|_| Node::new(&password)).collect::<anyhow::Result<Vec<_>>>()?;
        nodes = tokio::task::spawn_blocking(move || {
            for node in &mut nodes {
                node.start()?;
            }
            anyhow::Ok(nodes)
        })
        .await??;
        let cluster = Self { nodes, password };
        cluster.form().await?;
        Ok(cluster)
    }

    /// Its address: all of its servers.
    pub fn url(&self) -> String {
        let hosts = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port.number()));
        format!("redis+cluster://:{}@{}", self.password, hosts.collect::<Vec<_>>().join(","))
    }

    /// Every key, of all primaries.
    pub async fn keys(&self) -> anyhow::Result<Vec<String>> {
        let mut keys: Vec<String> = Vec::new();
        for place in self.primaries().await? {
            keys.extend(self.ask::<Vec<String>>(place, redis::cmd("KEYS").arg("*")).await?);
        }
        keys.sort();
        Ok(keys)
    }

    /// How many keys each primary has.
    pub async fn sizes(&self) -> anyhow::Result<Vec<u64>> {
        let mut sizes = Vec::new();
        for place in self.primaries().await? {
            sizes.push(self.ask(place, &mut redis::cmd("DBSIZE")).await?);
        }
        Ok(sizes)
    }

    /// A primary and its replica change places, as an operator asks for it: nothing is lost.
    pub async fn change_places(&self) -> anyhow::Result<()> {
        let replica = self.with_role("slave").await?[0];
        self.ask::<String>(replica, redis::cmd("CLUSTER").arg("FAILOVER")).await?;
        soon("the replica to be primary", async || Ok(self.with_role("master").await?.contains(&replica)))
            .await
    }

    /// A primary ends. Somebody else will notice.
    pub async fn stop_primary(&mut self) -> anyhow::Result<()> {
        let primary = self.primaries().await?[0];
        let ended = self.nodes[primary].running.take();
        Ok(tokio::task::spawn_blocking(move || drop(ended)).await?)
    }

    /// A primary loses everything.
    pub async fn flush_one(&self) -> anyhow::Result<()> {
        let primary = self.primaries().await?[0];
        self.ask(primary, &mut redis::cmd("FLUSHALL")).await
    }

    /// Waits until every key has a server again.
    pub async fn healed(&self) -> anyhow::Result<()> {
        soon("a replica to take over", async || Ok(self.primaries().await?.len() == PRIMARIES)).await
    }

    async fn form(&self) -> anyhow::Result<()> {
        let (first, rest) = self.nodes.split_first().context("there are nodes")?;
        for place in 0..self.nodes.len() {
            // Two that have the same would have to agree first.
            self.ask::<String>(place, redis::cmd("CLUSTER").arg("SET-CONFIG-EPOCH").arg(place + 1)).await?;
        }
        for place in 0..PRIMARIES {
            let (from, to) = (place * SLOTS / PRIMARIES, (place + 1) * SLOTS / PRIMARIES - 1);
            self.ask::<String>(place, redis::cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(from).arg(to)).await?;
        }
        for node in rest {
            let (port, bus) = (node.port.number(), node.bus.number());
            self.ask::<String>(0, redis::cmd("CLUSTER").arg("MEET").arg("127.0.0.1").arg(port).arg(bus))
                .await?;
        }
        let known = format!("cluster_known_nodes:{}", self.nodes.len());
        soon("the servers to know one another", async || self.all_say("CLUSTER", &known).await).await?;
        for place in 0..PRIMARIES {
            let id: String = self.ask(place, redis::cmd("CLUSTER").arg("MYID")).await?;
            let mut follow = redis::cmd("CLUSTER");
            self.ask::<String>(PRIMARIES + place, follow.arg("REPLICATE").arg(id)).await?;
        }
        soon("the Cluster to be formed", async || {
            let replicas = self.with_role("slave").await?;
            let mut linked = 0;
            for place in &replicas {
                let said: String = self.ask(*place, redis::cmd("INFO").arg("replication")).await?;
                linked += usize::from(said.contains("master_link_status:up"));
            }
            Ok(linked == PRIMARIES && self.all_say("CLUSTER", "cluster_state:ok").await?)
        })
        .await?;
        ensure!(first.running.is_some(), "the first server has ended");
        Ok(())
    }

    async fn all_say(&self, command: &str, sign: &str) -> anyhow::Result<bool> {
        for place in 0..self.nodes.len() {
            if !self.ask::<String>(place, redis::cmd(command).arg("INFO")).await?.contains(sign) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn primaries(&self) -> anyhow::Result<Vec<usize>> {
        self.with_role("master").await
    }

    /// Those that run and say of themselves that they are this.
    async fn with_role(&self, role: &str) -> anyhow::Result<Vec<usize>> {
        let mut places = Vec::new();
        for (place, node) in self.nodes.iter().enumerate() {
            if node.running.is_none() {
                continue;
            }
            let said: String = self.ask(place, redis::cmd("INFO").arg("replication")).await?;
            if said.contains(&format!("role:{role}")) {
                places.push(place);
            }
        }
        Ok(places)
    }

    async fn ask<T: FromRedisValue>(&self, place: usize, command: &mut Cmd) -> anyhow::Result<T> {
        let node = self.nodes[place].running.as_ref().context("the server runs")?;
        let mut connection = connection(&node.url()).await?;
        Ok(command.query_async(&mut connection).await?)
    }
}

impl Node {
    fn new(password: &str) -> anyhow::Result<Self> {
        let folder = servers::folder("valkey-node")?;
        write_private(&folder.join("password"), password)?;
        Ok(Self { folder, port: Port::any()?, bus: Port::any()?, running: None })
    }

    fn start(&mut self) -> anyhow::Result<()> {
        let password = std::fs::read_to_string(self.folder.join("password"))?;
        let settings = [
            "cluster-enabled yes".to_owned(),
            format!("cluster-port {}", self.bus.number()),
            format!("cluster-node-timeout {NODE_TIMEOUT_MS}"),
            format!("masterauth {password}"),
        ];
        let wheels = servers::wheels()?;
        self.running = Some(Valkey::start_with(&wheels, &self.folder, self.port.number(), &settings)?);
        Ok(())
    }
}

/// Asks every 20 ms until the answer is yes.
async fn soon<F: Future<Output = anyhow::Result<bool>>>(
    what: &str,
    mut asked: impl FnMut() -> F,
) -> anyhow::Result<()> {
    let waiting = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while !asked().await? {
            ticks.tick().await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(FORMED_WITHIN, waiting).await.with_context(|| format!("waited for {what}"))?
}
