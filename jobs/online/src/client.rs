//! Puts, reads and markers.
//!
//! Functions are loaded when Redis says that it doesn't know them, which also covers a Redis that came back empty, and a
//! server that was added to a Cluster.

use std::collections::{BTreeMap, HashMap};

use indexmap::IndexMap;
use redis::{Cmd, RedisError};
use tidemill_spec::Value;

use crate::{
    connection::{Connection, OnlineOptions},
    error::Error,
    key::{Name, is_named, pattern},
    shard::{SHARDS, Shard},
    stored::Stored,
    view::{Layout, OnlineView},
};

const FUNCTIONS: &str = include_str!("../functions/online.lua");
/// Values one function call writes at most: batching gains nothing beyond, and each call blocks Redis.
const PUT_CALL_MAX: usize = 50;
/// Values one round trip carries at most, so that a large backfill holds little memory.
const PUT_MAX: usize = 1_000;
/// Entities that one step of a walk looks at: it blocks Redis.
const SCAN_COUNT: usize = 1_000;

/// The online store. Clones share its connections.
#[derive(Clone)]
pub struct Online {
    pub(crate) connection: Connection,
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
/// behind the view's position means that Redis lost something. Each [shard](crate::shard) has its own, for each is lost by
/// itself. Markers name the layout of what was written, so that values of another layout count as lost too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Markers(HashMap<String, Marked>);

/// What the shards' markers of a view version in a layout say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Marked {
    shards: usize,
    least: i64,
    greatest: i64,
}

impl Markers {
    fn of(shards: Vec<HashMap<String, i64>>) -> Self {
        let mut marked: HashMap<String, Marked> = HashMap::new();
        for (field, lake_version) in shards.into_iter().flatten() {
            let known = Marked { shards: 0, least: lake_version, greatest: lake_version };
            let Marked { shards, least, greatest } = marked.entry(field).or_insert(known);
            *shards += 1;
            *least = lake_version.min(*least);
            *greatest = lake_version.max(*greatest);
        }
        Self(marked)
    }

    /// Lake version whose rows have been written in the view's layout and are there in every shard; 0 if none are.
    pub fn held(&self, view: &OnlineView) -> i64 {
        self.0.get(&marker(view)).filter(|marked| marked.shards == SHARDS).map_or(0, |marked| marked.least)
    }

    /// Whether Redis holds less of the view version than was `written`, or more than there is up to the lake's `head`: one
    /// of the two came back older. Lake versions.
    pub fn lost(&self, view: &OnlineView, written: i64, head: i64) -> bool {
        let beyond = self.0.get(&marker(view)).is_some_and(|marked| marked.greatest > head);
        self.held(view) < written || beyond
    }

    /// Whether Redis has values of the view version that were written in another layout.
    pub fn outdated(&self, view: &OnlineView) -> bool {
        let (version, this) = (version_marker(view.name(), view.version()), marker(view));
        self.0.keys().any(|field| is_of(field, &version) && *field != this)
    }

    /// The markers of what has been written and not been lost.
    pub(crate) fn written(self) -> impl Iterator<Item = String> {
        let whole = |marked: &Marked| marked.shards == SHARDS && marked.least > 0;
        self.0.into_iter().filter_map(move |(field, marked)| whole(&marked).then_some(field))
    }
}

/// The markers of a view version, whatever the layout, begin with this.
fn version_marker(view: &str, version: u32) -> String {
    format!("{view}:{version}")
}

/// The marker of a view version in its layout.
pub(crate) fn marker(view: &OnlineView) -> String {
    format!("{}:{:08x}", version_marker(view.name(), view.version()), view.layout_id())
}

fn is_of(field: &str, version: &str) -> bool {
    field.strip_prefix(version).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

impl Online {
    /// Prepares a connection; it is made when first used. To be called in a tokio runtime.
    ///
    /// # Errors
    /// The URL is none, or a file of certificates can't be read.
    pub fn connect(options: &OnlineOptions) -> Result<Self, Error> {
        Ok(Self { connection: Connection::open(options)?, prefix: options.prefix.clone() })
    }

    /// Whether Redis answers; of a Cluster every primary.
    pub async fn ping(&self) -> Result<(), Error> {
        Ok(self.connection.ask(&redis::cmd("PING")).await?)
    }

    /// Writes every entry that is not older than what is stored, of tiles each that isn't; safe to repeat, in any order.
    /// Entries whose key has a null are left out. Returns how many values changed.
    pub async fn put(&self, view: &OnlineView, entries: &[Entry]) -> Result<u64, Error> {
        let mut written = 0;
        for batch in entries.chunks(PUT_MAX) {
            written += self.call(&self.put_calls(view, batch)?).await?.into_iter().sum::<u64>();
        }
        Ok(written)
    }

    /// A function call touches one key, so each is about one shard.
    fn put_calls(&self, view: &OnlineView, entries: &[Entry]) -> Result<Vec<Cmd>, Error> {
        let mut shards: BTreeMap<Shard, Vec<(Name, &Stored)>> = BTreeMap::new();
        for entry in entries {
            if let Some(name) = Name::of(&entry.key) {
                shards.entry(Shard::of(&name)).or_default().push((name, &entry.stored));
            }
        }
        let function = match view.layout() {
            Layout::Row(_) => "tidemill_put_4",
            Layout::Tiles(_) => "tidemill_merge_4",
        };
        let mut calls = Vec::new();
        for (shard, values) in shards {
            for values in values.chunks(PUT_CALL_MAX) {
                let mut call = redis::cmd("FCALL");
                call.arg(function).arg(1).arg(shard.values(&self.prefix, view.name(), view.version()));
                for (name, stored) in values {
                    call.arg(name.as_str()).arg(stored.encode(view)?).arg(stored.first_tiles(view));
                }
                calls.push(call);
            }
        }
        Ok(calls)
    }

    /// The stored bytes of each read, in order, in one round trip to each server; give them to [`crate::values()`].
    pub async fn read(&self, reads: &[Read<'_>]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let mut asked: IndexMap<String, Vec<(usize, Name)>> = IndexMap::new();
        for (place, read) in reads.iter().enumerate() {
            if let Some(name) = Name::of(read.key) {
                let hash = Shard::of(&name).values(&self.prefix, read.view.name(), read.view.version());
                asked.entry(hash).or_default().push((place, name));
            }
        }
        let get = |(hash, names): (&String, &Vec<(usize, Name)>)| {
            let names: Vec<&str> = names.iter().map(|(_, name)| name.as_str()).collect();
            Cmd::hmget(hash, names)
        };
        let commands: Vec<Cmd> = asked.iter().map(get).collect();
        let answers: Vec<Vec<Option<Vec<u8>>>> = self.connection.ask_each(&commands).await?;
        let mut found = vec![None; reads.len()];
        for (names, values) in asked.into_values().zip(answers) {
            for ((place, _), value) in names.into_iter().zip(values) {
                found[place] = value;
            }
        }
        Ok(found)
    }

    /// Notes that a view version is about to be written from its beginning: a marker that holds nothing, unless one
    /// is there.
    pub async fn begin_marker(&self, view: &OnlineView) -> Result<(), Error> {
        let begin = |shard: Shard| Cmd::hset_nx(shard.markers(&self.prefix), marker(view), 0);
        Ok(self.connection.ask_each::<bool>(&Shard::all().map(begin).collect::<Vec<_>>()).await.map(drop)?)
    }

    /// Notes how far a view version has been written, where what was written `from` (a lake version) is still there:
    /// a marker that was lost with its values must not come back without them. False if one was.
    pub async fn mark(&self, view: &OnlineView, from: i64, lake_version: i64) -> Result<bool, Error> {
        let mark = |shard: Shard| {
            let mut call = redis::cmd("FCALL");
            call.arg("tidemill_mark_4").arg(1).arg(shard.markers(&self.prefix));
            call.arg(marker(view)).arg(from).arg(lake_version).take()
        };
        let marked = self.call(&Shard::all().map(mark).collect::<Vec<_>>()).await?;
        Ok(marked.iter().all(|marked| *marked == 1))
    }

    /// How far each view version has been written.
    pub async fn markers(&self) -> Result<Markers, Error> {
        let get = |shard: Shard| Cmd::hgetall(shard.markers(&self.prefix));
        Ok(Markers::of(self.connection.ask_each(&Shard::all().map(get).collect::<Vec<_>>()).await?))
    }

    /// The first of these whose value would be gone: Redis has lost what it had of the view version where that would be; of a
    /// key with a null, which names nothing, in some place.
    pub(crate) async fn first_lost<'v>(&self, reads: &[Read<'v>]) -> Result<Option<&'v OnlineView>, Error> {
        let shard = |read: &Read<'v>| Name::of(read.key).map_or(Shard::ANY, |name| Shard::of(&name));
        let place = |read: &Read<'v>| ((shard(read), marker(read.view)), read.view);
        let places: IndexMap<(Shard, String), &OnlineView> = reads.iter().map(place).collect();
        let get = |(shard, marker): &(Shard, String)| Cmd::hget(shard.markers(&self.prefix), marker);
        let commands: Vec<Cmd> = places.keys().map(get).collect();
        let held: Vec<Option<i64>> = self.connection.ask_each(&commands).await?;
        // A marker of nothing: the first values are being written.
        let mut lost = places.values().zip(held).filter(|(_, held)| held.is_none_or(|held| held == 0));
        Ok(lost.next().map(|(view, _)| *view))
    }

    /// Removes every value of a view version that nobody reads any more. Returns how many. Its markers go first: whoever dies
    /// in between leaves what counts as lost.
    pub async fn drop_version(&self, view: &str, version: u32) -> Result<u64, Error> {
        let fields = |shard: Shard| Cmd::hkeys(shard.markers(&self.prefix));
        let fields: Vec<Vec<String>> =
            self.connection.ask_each(&Shard::all().map(fields).collect::<Vec<_>>()).await?;
        let marker = version_marker(view, version);
        let unmark = |(shard, mut fields): (Shard, Vec<String>)| {
            fields.retain(|field| is_of(field, &marker));
            (!fields.is_empty()).then(|| Cmd::hdel(shard.markers(&self.prefix), fields))
        };
        let unmark: Vec<Cmd> = Shard::all().zip(fields).filter_map(unmark).collect();
        self.connection.ask_each::<u64>(&unmark).await?;
        let dropped = self.count(view, version).await?;
        let unlink = |shard: Shard| Cmd::unlink(shard.values(&self.prefix, view, version));
        self.connection.ask_each::<u64>(&Shard::all().map(unlink).collect::<Vec<_>>()).await?;
        Ok(dropped)
    }

    /// Removes the values of the entities whose key has these values; a part that is none may be anything. Returns how many.
    /// Safe to repeat.
    pub async fn forget(&self, view: &str, version: u32, key: &[Option<Value>]) -> Result<u64, Error> {
        let whole: Option<Vec<Value>> = key.iter().cloned().collect();
        if let Some(name) = whole.and_then(|key| Name::of(&key)) {
            let hash = Shard::of(&name).values(&self.prefix, view, version);
            return Ok(self.connection.ask(&Cmd::hdel(hash, name.as_str())).await?);
        }
        let mut forgotten = 0;
        for shard in Shard::all() {
            let hash = shard.values(&self.prefix, view, version);
            let mut cursor = 0;
            loop {
                let mut scan = redis::cmd("HSCAN");
                scan.arg(&hash).arg(cursor).arg("MATCH").arg(pattern(key)).arg("COUNT").arg(SCAN_COUNT);
                let (next, found): (u64, Vec<(String, Vec<u8>)>) = self.connection.ask(&scan).await?;
                let named = found.into_iter().map(|(name, _)| name).filter(|name| is_named(name, key));
                let named: Vec<String> = named.collect();
                if !named.is_empty() {
                    forgotten += self.connection.ask::<u64>(&Cmd::hdel(&hash, named)).await?;
                }
                if next == 0 {
                    break;
                }
                cursor = next;
            }
        }
        Ok(forgotten)
    }

    /// How many entities have a value in a view version, tombstones included.
    pub async fn count(&self, view: &str, version: u32) -> Result<u64, Error> {
        let length = |shard: Shard| Cmd::hlen(shard.values(&self.prefix, view, version));
        let lengths: Vec<u64> =
            self.connection.ask_each(&Shard::all().map(length).collect::<Vec<_>>()).await?;
        Ok(lengths.into_iter().sum())
    }

    /// Runs function calls in one round trip to each server; loads the functions if one doesn't have them. Every function
    /// is safe to repeat, so what ran half way is simply sent again.
    pub(crate) async fn call(&self, calls: &[Cmd]) -> Result<Vec<u64>, Error> {
        match self.connection.ask_each(calls).await {
            Err(error) if functions_missing(&error) => {
                let load = redis::cmd("FUNCTION").arg("LOAD").arg("REPLACE").arg(FUNCTIONS).take();
                self.connection.ask::<()>(&load).await?;
                Ok(self.connection.ask_each(calls).await?)
            }
            other => Ok(other?),
        }
    }
}

fn functions_missing(error: &RedisError) -> bool {
    error.to_string().contains("Function not found")
}
