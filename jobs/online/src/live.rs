//! The live set: what serving tiers need beside values, published to Redis by whoever changes it.
//!
//! Three parts, each replaced as a whole and kept unless a later one is there: the data clock and the views (by
//! `features`) and the models (by `registry`). A publisher draws its order from Postgres *after* its change
//! committed and *before* it reads what to publish; so the last one to publish has read everything, whatever
//! the races.

use std::{sync::Arc, time::Duration};

use indexmap::IndexMap;
use redis::AsyncCommands as _;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tidemill_core::DataClock;
use tidemill_spec::{Hydration, OutputType, Type};
use tokio::{sync::watch, time::MissedTickBehavior};

use crate::{client::Online, error::Error, view::OnlineView};

/// Everything that is live.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LiveSet {
    /// Answers "now".
    pub clock: DataClock,
    /// Online views.
    pub views: LiveViews,
    /// Models that can be asked.
    pub models: LiveModels,
}

/// Online views by name.
pub type LiveViews = IndexMap<String, LiveView>;

/// Models by name.
pub type LiveModels = IndexMap<String, LiveModel>;

/// One view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LiveView {
    /// The version that is read unless a model names another.
    pub current: u32,
    /// The versions that are kept up to date.
    pub versions: IndexMap<u32, Arc<OnlineView>>,
}

impl LiveView {
    /// A version; the current one for `None`.
    pub fn version(&self, version: Option<u32>) -> Option<&Arc<OnlineView>> {
        self.versions.get(&version.unwrap_or(self.current))
    }
}

/// One model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LiveModel {
    /// Key columns of its entity, in declared order.
    pub keys: IndexMap<String, Type>,
    /// Aliases, e.g. `champion`.
    pub aliases: IndexMap<String, u32>,
    /// Versions that an alias names, or that may be asked for by number.
    pub versions: IndexMap<u32, LiveModelVersion>,
}

/// One version of a model, as it was registered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LiveModelVersion {
    /// Path of its folder in the artifact store.
    pub artifact: String,
    /// Its flavor.
    pub runtime: String,
    /// How a key becomes a vector.
    pub hydration: Hydration,
    /// Which version of each view it was trained on and reads.
    pub view_versions: IndexMap<String, u32>,
    /// Columns that only the caller knows; they follow the hydrated ones.
    pub request: IndexMap<String, Type>,
    /// Named, typed outputs.
    pub outputs: IndexMap<String, OutputType>,
    /// Whether a null in the vector is an error.
    pub fail_on_missing: bool,
    /// Warm Python processes.
    pub processes: u32,
}

impl Online {
    /// Publishes the data clock; false if a later publication is already there.
    pub async fn publish_clock(&self, order: i64, clock: &DataClock) -> Result<bool, Error> {
        self.publish("clock", order, clock).await
    }

    /// Publishes the views; false if a later publication is already there.
    pub async fn publish_views(&self, order: i64, views: &LiveViews) -> Result<bool, Error> {
        self.publish("views", order, views).await
    }

    /// Publishes the models; false if a later publication is already there.
    pub async fn publish_models(&self, order: i64, models: &LiveModels) -> Result<bool, Error> {
        self.publish("models", order, models).await
    }

    /// What is live; `None` if nothing was ever published (or Redis lost it).
    pub async fn live(&self) -> Result<Option<LiveSet>, Error> {
        let parts: [Option<String>; 3] = redis::cmd("HMGET")
            .arg(self.live_key())
            .arg(&["clock", "views", "models"])
            .query_async(&mut self.connection.clone())
            .await?;
        if parts.iter().all(Option::is_none) {
            return Ok(None);
        }
        let [clock, views, models] = parts;
        Ok(Some(LiveSet {
            clock: part("clock", clock)?,
            views: part("views", views)?,
            models: part("models", models)?,
        }))
    }

    /// Follows the live set, looking every `every`. Keeps the last one while Redis is away or empty, and
    /// holds `None` until there is a first. Ends when the last receiver is dropped.
    pub fn watch_live(&self, every: Duration) -> watch::Receiver<Option<Arc<LiveSet>>> {
        let (sender, receiver) = watch::channel(None);
        let online = self.clone();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut seen = None;
            loop {
                tokio::select! {
                    () = sender.closed() => return,
                    _ = ticks.tick() => {}
                }
                if let Err(error) = online.follow(&mut seen, &sender).await {
                    tracing::debug!(%error, "the live set can't be read; keeping the last one");
                }
            }
        });
        receiver
    }

    async fn follow(
        &self,
        seen: &mut Option<i64>,
        sender: &watch::Sender<Option<Arc<LiveSet>>>,
    ) -> Result<(), Error> {
        // A small read each tick; the document only when it changed.
        let changes: Option<i64> = self.connection.clone().hget(self.live_key(), "changes").await?;
        if changes.is_some()
            && changes != *seen
            && let Some(live) = self.live().await?
        {
            sender.send_replace(Some(Arc::new(live)));
            *seen = changes;
        }
        Ok(())
    }

    async fn publish<T: Serialize + Sync>(
        &self,
        part: &'static str,
        order: i64,
        content: &T,
    ) -> Result<bool, Error> {
        let json = serde_json::to_string(content).map_err(|source| Error::InvalidLiveSet { part, source })?;
        let mut call = redis::cmd("FCALL");
        call.arg("tidemill_publish_2").arg(1).arg(self.live_key()).arg(part).arg(order).arg(json);
        Ok(self.call(&[call]).await? == [1])
    }

    fn live_key(&self) -> String {
        format!("{}:live", self.prefix)
    }
}

fn part<T: DeserializeOwned + Default>(part: &'static str, json: Option<String>) -> Result<T, Error> {
    json.map_or_else(|| Ok(T::default()), |json| serde_json::from_str(&json))
        .map_err(|source| Error::InvalidLiveSet { part, source })
}
