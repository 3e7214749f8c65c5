//! The connection to Redis: puts, reads and markers.
//!
//! One multiplexed connection is shared by every caller of a process, so concurrent reads travel together. It
//! connects when first used and again whenever it was lost; until then calls fail with
//! [`Error::Unavailable`]. Functions are loaded when Redis says that it doesn't know them, which also covers
//! a Redis that came back empty.

use std::{collections::HashMap, time::Duration};

use redis::{
    AsyncCommands as _, Cmd, Pipeline, RedisError,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use serde::Deserialize;
use tidemill_spec::Value;

use crate::{
    error::Error,
    key::{is_named, value_key, view_prefix},
    stored::Stored,
    view::{Layout, OnlineView},
};

const FUNCTIONS: &str = include_str!("../functions/online.lua");
/// Values one function call writes at most: batching gains nothing beyond, and each call blocks Redis.
const PUT_CALL_MAX: usize = 50;
/// Calls one round trip carries at most, so that a large backfill holds little memory.
const PUT_PIPELINE_MAX: usize = 20;
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(2);

/// Where Redis is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnlineOptions {
    /// `redis://HOST:PORT[/DB]` or `unix:///PATH`.
    pub url: String,
    /// What every key begins with; one for each installation.
    #[serde(default = "default_prefix")]
    pub prefix: String,
}

fn default_prefix() -> String {
    "tidemill".to_owned()
}

/// The online store. Clones share one connection.
#[derive(Clone)]
pub struct Online {
    pub(crate) connection: ConnectionManager,
    pub(crate) prefix: String,
}

impl std::fmt::Debug for Online {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Online").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// One entity's new value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Values of the entity's key columns, in declared order.
    pub key: Vec<Value>,
    /// What to store unless something newer is there.
    pub stored: Stored,
}

/// One entity to read in one view.
#[derive(Clone, Copy, Debug)]
pub struct Read<'a> {
    /// The view version.
    pub view: &'a OnlineView,
    /// Values of the entity's key columns, in declared order. A null names nothing.
    pub key: &'a [Value],
}

/// How far Redis holds each view version: written after its values and before the lake's commit, so a marker
/// behind the view's position means that Redis lost something. Markers name the layout of what was written, so that
/// values of another layout count as lost too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Markers(HashMap<String, i64>);

impl Markers {
    /// Lake version whose rows have been written in the view's layout; 0 if none have.
    pub fn held(&self, view: &OnlineView) -> i64 {
        self.0.get(&marker(view)).copied().unwrap_or(0)
    }

    /// Whether writing it has begun.
    pub fn begun(&self, view: &OnlineView) -> bool {
        self.0.contains_key(&marker(view))
    }

    /// Whether Redis has values of the view version that were written in another layout.
    pub fn outdated(&self, view: &OnlineView) -> bool {
        let (version, this) = (version_marker(view.name(), view.version()), marker(view));
        self.0.keys().any(|field| is_of(field, &version) && *field != this)
    }
}

/// The markers of a view version, whatever the layout, begin with this.
fn version_marker(view: &str, version: u32) -> String {
    format!("{view}:{version}")
}

pub(crate) fn marker(view: &OnlineView) -> String {
    format!("{}:{:08x}", version_marker(view.name(), view.version()), view.layout_id())
}

fn is_of(field: &str, version: &str) -> bool {
    field.strip_prefix(version).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

impl Online {
    /// Prepares a connection; it is made when first used.
    ///
    /// # Errors
    /// [`Error::InvalidUrl`].
    pub fn connect(options: &OnlineOptions) -> Result<Self, Error> {
        let invalid = |source| Error::InvalidUrl { url: options.url.clone(), source };
        let client = redis::Client::open(options.url.as_str()).map_err(invalid)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECTION_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT))
            .set_number_of_retries(1);
        let connection = ConnectionManager::new_lazy_with_config(client, config).map_err(invalid)?;
        Ok(Self { connection, prefix: options.prefix.clone() })
    }

    /// Whether Redis answers.
    pub async fn ping(&self) -> Result<(), Error> {
        Ok(self.connection.clone().ping::<()>().await?)
    }

    /// Writes every entry that is not older than what is stored, of tiles each that isn't; safe to repeat, in any order.
    /// Entries whose key has a null are left out. Returns how many values changed.
    pub async fn put(&self, view: &OnlineView, entries: &[Entry]) -> Result<u64, Error> {
        let mut written = 0;
        for batch in entries.chunks(PUT_CALL_MAX * PUT_PIPELINE_MAX) {
            let calls = batch.chunks(PUT_CALL_MAX).map(|entries| self.put_call(view, entries));
            let calls = calls.filter_map(Result::transpose).collect::<Result<Vec<Cmd>, Error>>()?;
            written += self.call(&calls).await?.into_iter().sum::<u64>();
        }
        Ok(written)
    }

    fn put_call(&self, view: &OnlineView, entries: &[Entry]) -> Result<Option<Cmd>, Error> {
        let mut keys = vec![self.counts_key()];
        let mut values = vec![version_marker(view.name(), view.version()).into_bytes()];
        for entry in entries {
            if let Some(key) = value_key(&self.prefix, view.name(), view.version(), &entry.key) {
                keys.push(key);
                values.push(entry.stored.encode(view)?);
                values.extend(entry.stored.first_tiles(view));
            }
        }
        if keys.len() == 1 {
            return Ok(None);
        }
        let function = match view.layout() {
            Layout::Row(_) => "tidemill_put_3",
            Layout::Tiles(_) => "tidemill_merge_3",
        };
        let mut call = redis::cmd("FCALL");
        call.arg(function).arg(keys.len()).arg(keys).arg(values);
        Ok(Some(call))
    }

    /// The stored bytes of each read, in order, in one round trip; give them to [`crate::values()`].
    pub async fn read(&self, reads: &[Read<'_>]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let names: Vec<Option<String>> = reads
            .iter()
            .map(|read| value_key(&self.prefix, read.view.name(), read.view.version(), read.key))
            .collect();
        let asked: Vec<&String> = names.iter().flatten().collect();
        if asked.is_empty() {
            return Ok(vec![None; reads.len()]);
        }
        let found: Vec<Option<Vec<u8>>> =
            redis::cmd("MGET").arg(&asked).query_async(&mut self.connection.clone()).await?;
        let mut found = found.into_iter();
        Ok(names.iter().map(|name| name.as_ref().and_then(|_| found.next().flatten())).collect())
    }

    /// Notes that a view version is about to be written from its beginning: a marker that holds nothing, unless one
    /// is there. Its values are counted from now on.
    pub async fn begin_marker(&self, view: &OnlineView) -> Result<(), Error> {
        let mut call = redis::cmd("FCALL");
        call.arg("tidemill_begin_3").arg(2).arg(self.markers_key()).arg(self.counts_key());
        call.arg(marker(view)).arg(version_marker(view.name(), view.version()));
        self.call(&[call]).await.map(drop)
    }

    /// Notes how far a view version has been written, where what was written `from` (a lake version) is still there:
    /// a marker that was lost with its values must not come back without them. False if it was.
    pub async fn mark(&self, view: &OnlineView, from: i64, lake_version: i64) -> Result<bool, Error> {
        let mut call = redis::cmd("FCALL");
        call.arg("tidemill_mark_3")
            .arg(1)
            .arg(self.markers_key())
            .arg(marker(view))
            .arg(from)
            .arg(lake_version);
        Ok(self.call(&[call]).await? == [1])
    }

    /// How far each view version has been written.
    pub async fn markers(&self) -> Result<Markers, Error> {
        Ok(Markers(self.connection.clone().hgetall(self.markers_key()).await?))
    }

    /// Removes every value of a view version that nobody reads any more. Returns how many.
    pub async fn drop_version(&self, view: &str, version: u32) -> Result<u64, Error> {
        let mut connection = self.connection.clone();
        let (mut cursor, mut dropped) = (0, 0);
        loop {
            let (next, keys) = self.scan(view, version, cursor).await?;
            if !keys.is_empty() {
                dropped += redis::cmd("UNLINK").arg(keys).query_async::<u64>(&mut connection).await?;
            }
            if next == 0 {
                break;
            }
            cursor = next;
        }
        let version = version_marker(view, version);
        connection.hdel::<_, _, ()>(self.counts_key(), &version).await?;
        let fields: Vec<String> = connection.hkeys(self.markers_key()).await?;
        let fields: Vec<String> = fields.into_iter().filter(|field| is_of(field, &version)).collect();
        if !fields.is_empty() {
            connection.hdel::<_, _, ()>(self.markers_key(), fields).await?;
        }
        Ok(dropped)
    }

    /// Removes the values of the entities whose key has these values; a part that is none may be anything. Returns how many.
    /// Safe to repeat.
    pub async fn forget(&self, view: &str, version: u32, key: &[Option<Value>]) -> Result<u64, Error> {
        let whole: Option<Vec<Value>> = key.iter().cloned().collect();
        if let Some(name) = whole.and_then(|key| value_key(&self.prefix, view, version, &key)) {
            return self.remove(view, version, vec![name.into_bytes()]).await;
        }
        let prefix = view_prefix(&self.prefix, view, version);
        let (mut cursor, mut forgotten) = (0, 0);
        loop {
            let (next, mut names) = self.scan(view, version, cursor).await?;
            names.retain(|name| {
                let name = std::str::from_utf8(name).ok().and_then(|name| name.strip_prefix(&prefix));
                name.is_some_and(|name| is_named(name, key))
            });
            if !names.is_empty() {
                forgotten += self.remove(view, version, names).await?;
            }
            if next == 0 {
                return Ok(forgotten);
            }
            cursor = next;
        }
    }

    /// Removes values by their names, and counts them no more.
    async fn remove(&self, view: &str, version: u32, names: Vec<Vec<u8>>) -> Result<u64, Error> {
        let mut call = redis::cmd("FCALL");
        call.arg("tidemill_remove_3").arg(names.len() + 1).arg(self.counts_key()).arg(names);
        call.arg(version_marker(view, version));
        Ok(self.call(&[call]).await?.first().copied().unwrap_or_default())
    }

    /// How many entities have a value in a view version, tombstones included.
    pub async fn count(&self, view: &str, version: u32) -> Result<u64, Error> {
        let counted: Option<u64> =
            self.connection.clone().hget(self.counts_key(), version_marker(view, version)).await?;
        match counted {
            Some(count) => Ok(count),
            None => self.walk(view, version).await,
        }
    }

    /// The same of a version that an earlier release began, which did not count. Walks all keys, and may meet one twice
    /// when Redis resizes its table meanwhile.
    async fn walk(&self, view: &str, version: u32) -> Result<u64, Error> {
        let (mut cursor, mut count) = (0, 0);
        loop {
            let (next, keys) = self.scan(view, version, cursor).await?;
            count += keys.len() as u64;
            if next == 0 {
                return Ok(count);
            }
            cursor = next;
        }
    }

    /// The next keys of a view version, and where the walk goes on; 0: it has ended.
    async fn scan(&self, view: &str, version: u32, cursor: u64) -> Result<(u64, Vec<Vec<u8>>), Error> {
        let pattern = format!("{}*", view_prefix(&self.prefix, view, version));
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(1000);
        Ok(scan.query_async(&mut self.connection.clone()).await?)
    }

    fn counts_key(&self) -> String {
        format!("{}:counts", self.prefix)
    }

    pub(crate) fn markers_key(&self) -> String {
        format!("{}:markers", self.prefix)
    }

    /// Runs function calls in one round trip; loads the functions if Redis doesn't have them. Every function
    /// is safe to repeat, so a pipeline that ran half way is simply sent again.
    pub(crate) async fn call(&self, calls: &[Cmd]) -> Result<Vec<u64>, Error> {
        if calls.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = Pipeline::new();
        for call in calls {
            pipeline.add_command(call.clone());
        }
        let mut connection = self.connection.clone();
        match pipeline.query_async(&mut connection).await {
            Err(error) if functions_missing(&error) => {
                let mut load = redis::cmd("FUNCTION");
                load.arg("LOAD").arg("REPLACE").arg(FUNCTIONS);
                load.query_async::<()>(&mut connection).await?;
                Ok(pipeline.query_async(&mut connection).await?)
            }
            other => Ok(other?),
        }
    }
}

fn functions_missing(error: &RedisError) -> bool {
    error.to_string().contains("Function not found")
}
