//! What a serving process sees of Redis, and what it says there of itself.
//!
//! It looks every few hundred milliseconds: is the live set another one, does Redis answer, which views' values does it
//! hold. It keeps the last live set while Redis is away or has lost it. What it serves it writes under a key of its own
//! that ends by itself, so that a promotion can wait for every process.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use redis::Cmd;
use serde::{Deserialize, Serialize};
use tidemill_core::Fault;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{
    client::{Online, marker},
    error::Error,
    live::LiveSet,
    view::OnlineView,
};

/// Longest one look may take: a Redis that is slower doesn't answer.
const LOOK_MAX: Duration = Duration::from_secs(2);
/// How long what a process said of itself counts.
const SAID_FOR: Duration = Duration::from_secs(5);

/// What the last look showed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// The last live set that could be read, and the order of its publication.
    pub live: Option<(i64, Arc<LiveSet>)>,
    /// What Redis holds, or why it didn't answer; `None` before the first look.
    pub redis: Option<Result<Held, String>>,
}

/// What Redis holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Whether it has a live set at all.
    pub live: bool,
    /// The markers of views whose values have been written and not been lost.
    markers: BTreeSet<String>,
}

impl Held {
    /// Whether the view's values have been written, in its layout, and not been lost.
    pub fn holds(&self, view: &OnlineView) -> bool {
        self.markers.contains(&marker(view))
    }
}

impl Seen {
    /// The live set, once one was read.
    pub fn live(&self) -> Option<&Arc<LiveSet>> {
        self.live.as_ref().map(|(_, live)| live)
    }
}

/// What one serving process says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// Where it answers over HTTP.
    pub address: String,
    /// The order of the live set that it follows.
    pub order: i64,
    /// Each version that it serves or should, by model.
    pub models: BTreeMap<String, BTreeMap<u32, Served>>,
    /// What each alias means there, by model.
    pub aliases: BTreeMap<String, BTreeMap<String, u32>>,
}

/// How far a version is in one serving process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "reason")]
pub enum Served {
    /// It answers.
    Ready,
    /// It is being loaded for the first time.
    Loading,
    /// It doesn't answer; why.
    Failed(String),
}

impl Online {
    /// Looks every `every`; ends when the last receiver is dropped.
    pub fn watch(&self, every: Duration) -> watch::Receiver<Seen> {
        let (sender, receiver) = watch::channel(Seen::default());
        let online = self.clone();
        tokio::spawn(async move {
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = sender.closed() => return,
                    _ = ticks.tick() => {}
                }
                let before = sender.borrow().clone();
                let looked = timeout(LOOK_MAX, online.look(&before)).await;
                let seen = match looked {
                    Ok(Ok(seen)) => seen,
                    Ok(Err(error)) => {
                        Seen { redis: Some(Err(Fault::from_error(&error).message)), ..before.clone() }
                    }
                    Err(_) => {
                        let late = format!("redis did not answer within {} s", LOOK_MAX.as_secs());
                        Seen { redis: Some(Err(late)), ..before.clone() }
                    }
                };
                sender.send_if_modified(|last| {
                    let other = seen != before;
                    *last = seen;
                    other
                });
            }
        });
        receiver
    }

    /// Small reads at each look; the whole set only when it is another one.
    async fn look(&self, before: &Seen) -> Result<Seen, Error> {
        let (order, markers) = tokio::try_join!(self.live_order(), self.markers())?;
        let held = Held { live: order.is_some(), markers: markers.written().collect() };
        let known = before.live.as_ref().map(|(order, _)| *order);
        let live = match order {
            Some(order) if known != Some(order) => {
                self.live_and_order().await?.map(|(order, live)| (order, Arc::new(live)))
            }
            _ => None,
        };
        Ok(Seen { live: live.or_else(|| before.live.clone()), redis: Some(Ok(held)) })
    }

    /// Says what the serving process `id` serves; to be said again at least every second.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn say(&self, id: &str, replica: &Replica) -> Result<(), Error> {
        let said = serde_json::to_string(replica)
            .map_err(|source| Error::InvalidLiveSet { part: "replica", source })?;
        // In this order: who is listed and says nothing counts as gone.
        self.connection.ask::<()>(&Cmd::set_ex(self.replica_key(id), said, SAID_FOR.as_secs())).await?;
        Ok(self.connection.ask(&Cmd::sadd(self.replicas_key(), id)).await?)
    }

    /// The serving process `id` ends.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn leave(&self, id: &str) -> Result<(), Error> {
        self.connection.ask::<()>(&Cmd::del(self.replica_key(id))).await?;
        Ok(self.connection.ask(&Cmd::srem(self.replicas_key(), id)).await?)
    }

    /// What every serving process said within the last seconds, by address.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn replicas(&self) -> Result<Vec<Replica>, Error> {
        let ids: Vec<String> = self.connection.ask(&Cmd::smembers(self.replicas_key())).await?;
        let asked: Vec<Cmd> = ids.iter().map(|id| Cmd::get(self.replica_key(id))).collect();
        let said: Vec<Option<String>> = self.connection.ask_each(&asked).await?;
        let gone: Vec<&String> =
            ids.iter().zip(&said).filter(|(_, said)| said.is_none()).map(|(id, _)| id).collect();
        if !gone.is_empty() {
            // Whoever speaks again is added again.
            self.connection.ask::<()>(&Cmd::srem(self.replicas_key(), gone)).await?;
        }
        let mut replicas: Vec<Replica> =
            said.iter().flatten().filter_map(|said| serde_json::from_str(said).ok()).collect();
        replicas.sort_by(|a, b| a.address.cmp(&b.address));
        Ok(replicas)
    }

    fn replicas_key(&self) -> String {
        format!("{}:replicas", self.prefix)
    }

    fn replica_key(&self, id: &str) -> String {
        format!("{}:replica:{id}", self.prefix)
    }
}
