//! Whole histories of a project: rows come late, are corrected and withdrawn; views, their source's times and their code
//! are declared otherwise; versions are filled anew, pinned by models, and dropped; entities are erased and all rows taken
//! away; the clock moves; files are merged;
//! Redis is emptied or comes back older. After which every version that is kept up to date says the same online, offline and
//! to an oracle in plain Rust that knows its plan.
//!
//! A world has many entities, each with a course of its own: one history each. Seeds are printed, and a seed is a world.

#[path = "../../../offline/tests/offline/brute.rs"]
mod brute;

use std::{collections::BTreeMap, fmt::Write as _};

use brute::{Event, Key, Window, agree, newest};
use chrono::TimeDelta;
use serde_json::json;
use tidemill_catalog::{ModelVersion, ViewState, ViewVersion};
use tidemill_core::Time;
use tidemill_features::{backfill_new, behind, dispensable, wishes_of_changes};
use tidemill_offline::{KnownAt, PitRequest, Table, View};
use tidemill_removal::{erasure, truncation};
use tidemill_rows::{Row, batch_of, field, rows_of};
use tidemill_spec::{Aggregate, Newest, Plan, Rule, Source, Type, Value};

use crate::{
    changes::model_over,
    world::{World, at},
};

const ENTITIES: i64 = 64;
const ACTS: u64 = 18;

/// How rows may take the place of others.
const UNIQUE: [&str; 4] = [
    "",
    "unique: [id]\n",
    "unique: { keys: [id], newest: accepted }\n",
    "unique: { keys: [id], newest: n }\n",
];

/// What of the project changes.
#[derive(Clone, Copy, Debug)]
struct Declared {
    available: &'static str,
    /// Which of [`UNIQUE`].
    unique: usize,
    deleted: bool,
    ttl: bool,
    factor: i64,
    window: &'static str,
    weight: i64,
    helper: i64,
    all_online: bool,
}

const FIRST: Declared = Declared {
    available: "happened_at",
    unique: 1,
    deleted: true,
    ttl: false,
    factor: 2,
    window: "10m",
    weight: 3,
    helper: 5,
    all_online: true,
};

impl Declared {
    fn yaml(&self) -> String {
        let unique = UNIQUE[self.unique];
        let deleted = if self.deleted { "deleted: gone\n" } else { "" };
        let ttl = if self.ttl { "ttl: 5m\n" } else { "" };
        let online = if self.all_online { "true" } else { "[scaled, id]" };
        let Self { available, factor, window, weight, .. } = self;
        format!(
            r#"apiVersion: tidemill/v1
kind: Project
name: histories
clock: {{ replay: {{ start: "2013-06-01T00:00:00Z", speed: 0 }} }}
---
apiVersion: tidemill/v1
kind: Entity
name: pair
keys: {{ a: string, b: int }}
---
apiVersion: tidemill/v1
kind: Entity
name: item
keys: {{ id: int }}
---
apiVersion: tidemill/v1
kind: Source
name: events
columns:
  a: string
  b: int
  id: int
  x: {{ type: float, nullable: true }}
  n: {{ type: int, nullable: true }}
  gone: bool
  happened_at: timestamp
  seen_at: timestamp
event_time: happened_at
available_time: {available}
{deleted}{unique}---
apiVersion: tidemill/v1
kind: FeatureView
name: last
entity: pair
source: events
{ttl}features:
  x: float
  scaled: {{ type: int, sql: n * {factor} }}
  id: int
online: {online}
---
apiVersion: tidemill/v1
kind: FeatureView
name: coded
entity: pair
source: events
python: scaling:compute
features: {{ made: int }}
online: true
---
apiVersion: tidemill/v1
kind: FeatureView
name: recent
entity: pair
source: events
features:
  rows: {{ type: int, count: "*", window: {window} }}
  n_sum: {{ type: int, sum: n, window: {window} }}
  high: {{ type: int, count: "*", where: n > 1, window: {window} }}
  x_max: {{ type: float, max: x, window: {window} }}
online: true
---
apiVersion: tidemill/v1
kind: FeatureView
name: of_item
entity: item
source: events
features: {{ n: int }}
online: true
---
apiVersion: tidemill/v1
kind: FeatureView
name: mixed
entity: pair
inputs: [last, recent, {{ view: of_item, as: own, keys: {{ id: id }} }}, {{ view: of_item, as: other, keys: {{ id: b }} }}]
features:
  mix: {{ type: int, sql: "coalesce(scaled, 0) + coalesce(own_n, 0) - coalesce(other_n, 0) + rows * {weight}" }}
online: true
---
apiVersion: tidemill/v1
kind: FeatureView
name: above
entity: pair
inputs: [mixed]
features: {{ higher: {{ type: int, sql: mix + 1 }} }}
online: true
"#
        )
    }

    fn python(&self) -> [(&'static str, String); 2] {
        let code = "from factors import times\n\ndef compute(row):\n    n = row['n']\n    return {'made': None if n is None else times(n)}\n";
        let helper = format!("def times(n):\n    return n * {}\n", self.helper);
        [("scaling.py", code.to_owned()), ("factors.py", helper)]
    }

    /// One thing is declared otherwise.
    fn change(&mut self, dice: &mut Dice) {
        match dice.roll(9) {
            0 => self.available = dice.pick(&["happened_at", "seen_at"]),
            1 => self.unique = (self.unique + dice.pick(&[1, 2, 3])) % UNIQUE.len(),
            2 => self.deleted = !self.deleted,
            3 => self.ttl = !self.ttl,
            4 => self.factor = dice.pick(&[2, 7, 60]),
            5 => self.window = dice.pick(&["10m", "6m", "20m"]),
            6 => self.weight = dice.pick(&[3, 4]),
            7 => self.helper = dice.pick(&[5, 6]),
            _ => self.all_online = !self.all_online,
        }
    }
}

/// A small random generator (the mixer of `SplitMix64`), so that a seed says everything.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.roll(100) < percent
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.roll(of.len() as u64)).unwrap()]
    }

    fn below(&mut self, end: i64) -> i64 {
        i64::try_from(self.roll(u64::try_from(end).unwrap())).unwrap()
    }
}

/// A row as it was sent, whatever a declaration makes of it.
#[derive(Clone, Debug)]
struct Sent {
    key: Key,
    id: i64,
    x: Option<f64>,
    n: Option<i64>,
    gone: bool,
    happened_at: Time,
    seen_at: Time,
    created_at: Time,
    seq: i64,
}

impl Sent {
    fn row(&self) -> Row {
        let (Some(a), Some(b)) = self.key.clone() else { panic!("{self:?}") };
        Row::from_iter(
            [
                ("a", Value::String(a)),
                ("b", Value::Int(b)),
                ("id", Value::Int(self.id)),
                ("x", self.x.map_or(Value::Null, Value::Float)),
                ("n", self.n.map_or(Value::Null, Value::Int)),
                ("gone", Value::Bool(self.gone)),
                ("happened_at", Value::Timestamp(self.happened_at)),
                ("seen_at", Value::Timestamp(self.seen_at)),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        )
    }

    /// What it is to a version with this plan.
    fn event(&self, plan: &Plan) -> Event {
        let source = plan.source.as_ref().unwrap();
        let valid_at = if source.available_time == "seen_at" { self.seen_at } else { self.happened_at };
        Event {
            key: self.key.clone(),
            id: self.id,
            valid_at,
            created_at: self.created_at,
            seq: self.seq,
            deleted: self.gone && source.deleted.is_some(),
            x: self.x,
            n: self.n,
        }
    }
}

struct History {
    world: World,
    dice: Dice,
    declared: Declared,
    sent: Vec<Sent>,
    clock: i64,
    kept: Option<tidemill_testkit::redis::Prefix>,
    models: i32,
    acts: String,
}

impl History {
    async fn new(seed: u64) -> Self {
        let python = FIRST.python();
        let python: Vec<(&str, &str)> = python.iter().map(|(path, text)| (*path, text.as_str())).collect();
        let world = World::with(&FIRST.yaml(), &python).await;
        let (sent, kept, acts) = (Vec::new(), None, String::new());
        Self { world, dice: Dice(seed), declared: FIRST, sent, clock: 600, kept, models: 0, acts }
    }

    fn told(&mut self, what: &str) {
        writeln!(self.acts, "  {what}").unwrap();
    }

    async fn act(&mut self) {
        match self.dice.roll(18) {
            0..=4 => self.upload().await,
            5..=7 => self.apply().await,
            8 => self.fill_anew().await,
            9 => self.pin().await,
            10 | 11 => self.tick().await,
            12 => self.merge_files().await,
            13 => self.lose_redis().await,
            14 => self.erase().await,
            15 if self.dice.chance(30) => self.truncate().await,
            _ => self.drain().await,
        }
    }

    /// Rows of half of the entities: new ones, late ones, corrections and tombstones of earlier ones, some ahead of the clock.
    async fn upload(&mut self) {
        let before = self.sent.len();
        for entity in 0..ENTITIES {
            for _ in 0..self.dice.roll(3) {
                let minute = self.clock - 40 + self.dice.below(45);
                let happened_at = at(minute);
                // Few ids, and few of them change hands.
                let owner = if self.dice.chance(3) { self.dice.below(ENTITIES) } else { entity };
                let sent = Sent {
                    key: (Some(format!("e{entity}")), Some(1)),
                    id: owner * 10 + self.dice.below(4),
                    x: Some(self.dice.pick(&[0.25, -3.5, 7.0])).filter(|_| !self.dice.chance(20)),
                    n: Some(self.dice.below(9) - 4).filter(|_| !self.dice.chance(20)),
                    gone: self.dice.chance(15),
                    happened_at,
                    seen_at: happened_at + TimeDelta::minutes(self.dice.pick(&[0, 1, 15])),
                    created_at: at(10_000 + self.world.commits_so_far()),
                    seq: self.world.next_seq(self.sent.len() - before),
                };
                self.sent.push(sent);
            }
        }
        let rows: Vec<(i64, bool, Row)> = self.sent[before..]
            .iter()
            .map(|sent| {
                // As the source was declared when it came.
                let available =
                    if self.declared.available == "seen_at" { sent.seen_at } else { sent.happened_at };
                let mut row = sent.row();
                row.insert("valid_at".to_owned(), Value::Timestamp(available));
                (0, sent.gone && self.declared.deleted, row)
            })
            .collect();
        self.told(&format!("{} rows", rows.len()));
        if !rows.is_empty() {
            self.world.ingest("events", rows).await;
        }
    }

    async fn apply(&mut self) {
        self.declared.change(&mut self.dice);
        self.told(&format!("apply {:?}", self.declared));
        let python = self.declared.python();
        let python: Vec<(&str, &str)> = python.iter().map(|(path, text)| (*path, text.as_str())).collect();
        let changes = self.world.apply(&self.declared.yaml(), &python).await;
        self.world.enqueue(wishes_of_changes(&self.world.objects, &changes)).await;
    }

    async fn fill_anew(&mut self) {
        let view = self.dice.pick(&["last", "coded", "recent", "of_item", "mixed", "above"]);
        self.told(&format!("backfill {view}"));
        self.world.enqueue(vec![backfill_new(view)]).await;
    }

    /// A model is trained on what is current of one view, and is the one that counts from now on.
    async fn pin(&mut self) {
        self.told("a model is trained");
        self.models += 1;
        let current = self.world.deps.catalog.current_views().await.unwrap();
        // What that is computed from is kept for its sake alone.
        let read = current.into_iter().filter(|version| version.view == "above");
        let view_versions = read.map(|version| (version.view, version.version)).collect();
        let model = ModelVersion { view_versions, ..model_over("above") };
        let store = self.world.deps.catalog.store().clone();
        let mut tx = store.begin().await.unwrap();
        let job = format!("training {}", self.models);
        self.world.deps.catalog.insert_model_version(&mut tx, &job, &model).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn tick(&mut self) {
        self.clock += self.dice.pick(&[1, 4, 15, 30]);
        self.told(&format!("clock {}", self.clock));
        self.world.clock(self.clock).await;
    }

    async fn merge_files(&mut self) {
        self.told("files are merged");
        let lake = &self.world.deps.lake;
        let versions = self.world.deps.catalog.view_versions(None).await.unwrap();
        let tables = versions.iter().map(|version| Table::view(&version.view, version.version));
        for table in tables.chain([Table::source("events")]) {
            for files in lake.mergeable(&table, 2).await.unwrap() {
                let merged = lake.merge(&table, &files).await.unwrap().unwrap();
                let mut tx = self.world.deps.catalog.store().begin().await.unwrap();
                lake.replace(tx.conn(), &table, &files, &merged).await.unwrap();
                tx.commit().await.unwrap();
            }
        }
    }

    /// An entity is erased; later it may come again.
    async fn erase(&mut self) {
        let entity = format!("e{}", self.dice.below(ENTITIES));
        self.told(&format!("{entity} is erased"));
        let key = json!({ "a": entity, "b": 1 });
        self.world.enqueue(vec![erasure("pair", key.as_object().unwrap())]).await;
        // What was uploaded before is erased, whatever has been computed of it by then.
        self.world.drain().await;
        self.sent.retain(|sent| sent.key.0.as_deref() != Some(entity.as_str()));
        // A backup of Redis has it still.
        self.kept = None;
    }

    /// All rows are taken away.
    async fn truncate(&mut self) {
        self.told("the source is truncated");
        self.world.enqueue(vec![truncation("events")]).await;
        self.world.drain().await;
        self.sent.clear();
    }

    /// Redis comes back empty, or as it was a while ago.
    async fn lose_redis(&mut self) {
        let old = self.kept.take().filter(|_| self.dice.chance(70));
        self.told(if old.is_some() { "Redis is restored from before" } else { "Redis is emptied" });
        let now = self.world.restart_redis(old).await;
        self.kept = Some(now);
    }

    async fn drain(&mut self) {
        self.told("drain");
        let wishes = behind(&self.world.deps).await.unwrap();
        self.world.enqueue(wishes).await;
        self.world.drain().await;
        if self.dice.chance(20) {
            self.kept = Some(self.world.redis.copy().await.unwrap());
        }
    }

    /// Online, offline and oracle agree on every version that is kept up to date.
    async fn check(&mut self, seed: u64) -> usize {
        self.drain().await;
        let later = at(1_000_000) + TimeDelta::days(40_000);
        let wishes = dispensable(&self.world.deps, later).await.unwrap();
        self.world.enqueue(wishes).await;
        self.world.drain().await;
        let versions = self.world.deps.catalog.view_versions(None).await.unwrap();
        let kept = tidemill_live::maintained_versions(&self.world.deps.catalog, None).await.unwrap();
        let mut checks = 0;
        // What is said of items is seen through the views over them.
        for version in kept.iter().filter(|version| version.view != "of_item") {
            checks += self.check_version(seed, &versions, version).await;
        }
        let building = versions.iter().filter(|version| version.state == ViewState::Building);
        assert_eq!(building.count(), 0, "seed {seed}: something is never filled\n{}", self.acts);
        checks
    }

    async fn check_version(&self, seed: u64, versions: &[ViewVersion], version: &ViewVersion) -> usize {
        let deps = &self.world.deps;
        let (view, now, head) =
            (View::of(&version.plan, version.version), at(self.clock), deps.lake.head().await.unwrap());
        let keys: Vec<Vec<Value>> =
            (0..ENTITIES).map(|e| vec![Value::String(format!("e{e}")), Value::Int(1)]).collect();
        let online = self.world.now_of(version, &keys, now).await;
        let fields = vec![field("a", Type::String), field("b", Type::Int)];
        let schema = std::sync::Arc::new(arrow::datatypes::Schema::new(fields));
        let entities: Vec<Row> = keys
            .iter()
            .map(|key| Row::from_iter([("a".to_owned(), key[0].clone()), ("b".to_owned(), key[1].clone())]))
            .collect();
        let entities = batch_of(&schema, &entities).unwrap();
        let mut checks = 0;
        for moment in [now, at(self.clock - 9)] {
            let request = PitRequest::at(&view, &entities, head, moment).unwrap();
            let offline = rows_of(&deps.lake.point_in_time(&request).await.unwrap()).unwrap();
            for (entity, found) in offline.iter().enumerate() {
                let key: Key = (Some(format!("e{entity}")), Some(1));
                let wanted = Oracle { versions, sent: &self.sent }.features(version, &key, moment);
                let read = &online[entity];
                for (feature, value) in &wanted {
                    let rule = &version.plan.definition.features[feature].rule;
                    let told = || {
                        let rows: Vec<_> = self.sent.iter().filter(|sent| sent.key == key).collect();
                        format!(
                            "seed {seed}: {} v{} {} of e{entity} at {moment} should be {value:?}\n{}{rows:#?}",
                            version.view, version.version, feature, self.acts
                        )
                    };
                    assert!(
                        agree(Some(rule), &found[feature], value),
                        "offline {:?}; {}",
                        found[feature],
                        told()
                    );
                    if moment == now
                        && let Some(read) = read.values.get(feature)
                    {
                        assert!(agree(Some(rule), read, value), "online {read:?}; {}", told());
                    }
                    checks += 1;
                }
            }
        }
        checks
    }
}

/// What a version's features are, by its plan and the plans of what it reads.
struct Oracle<'a> {
    versions: &'a [ViewVersion],
    sent: &'a [Sent],
}

impl Oracle<'_> {
    fn features(&self, version: &ViewVersion, key: &Key, t: Time) -> BTreeMap<String, Value> {
        match version.view.as_str() {
            "last" | "coded" => self.row(version, key, t).unwrap_or_else(|| {
                version.plan.definition.features.keys().map(|name| (name.clone(), Value::Null)).collect()
            }),
            "recent" => self.windows(version, key, t),
            "mixed" => BTreeMap::from([("mix".to_owned(), Value::Int(self.mixed(version, key, t)))]),
            _ => {
                let mixed = self.mixed(self.input(version, "mixed"), key, t);
                BTreeMap::from([("higher".to_owned(), Value::Int(mixed + 1))])
            }
        }
    }

    fn input(&self, version: &ViewVersion, view: &str) -> &ViewVersion {
        let number = version.plan.inputs[view];
        self.versions.iter().find(|input| input.view == view && input.version == number).unwrap()
    }

    fn events(&self, version: &ViewVersion) -> Vec<Event> {
        self.sent.iter().map(|sent| sent.event(&version.plan)).collect()
    }

    fn row(&self, version: &ViewVersion, key: &Key, t: Time) -> Option<BTreeMap<String, Value>> {
        let Plan { definition, source, .. } = &version.plan;
        let ttl = definition.ttl.map(|ttl| i64::try_from(ttl.as_secs()).unwrap());
        let unique = newest_by(source.as_ref().unwrap());
        let events = self.events(version);
        let event = newest(&events, key, t, ttl, KnownAt::Any, unique)?;
        let times = |factor: i64| event.n.map_or(Value::Null, |n| Value::Int(n * factor));
        Some(match &definition.python {
            // Which helper it was is not in the plan, only its hash is: it is told by the code archive's content.
            Some(_) => BTreeMap::from([("made".to_owned(), times(self.helper(version)))]),
            None => {
                let Rule::Sql(sql) = &definition.features["scaled"].rule else { panic!("{definition:?}") };
                let factor = sql.rsplit(' ').next().unwrap().parse().unwrap();
                BTreeMap::from([
                    ("x".to_owned(), event.x.map_or(Value::Null, Value::Float)),
                    ("scaled".to_owned(), times(factor)),
                    ("id".to_owned(), Value::Int(event.id)),
                ])
            }
        })
    }

    fn helper(&self, version: &ViewVersion) -> i64 {
        let hashes = [5, 6].map(|helper| {
            let files = Declared { helper, ..FIRST }.python();
            let files = files.map(|(path, text)| (path.to_owned(), text)).into();
            (helper, tidemill_catalog::CodeArchive { files }.module_hash("scaling"))
        });
        hashes.into_iter().find(|(_, hash)| *hash == version.plan.code).unwrap().0
    }

    fn windows(&self, version: &ViewVersion, key: &Key, t: Time) -> BTreeMap<String, Value> {
        let events = self.events(version);
        let value = |name: &String, rule: &Rule| {
            let (aggregate, window) = windowed(version, rule, name);
            window.value(&events, key, t, KnownAt::Any, aggregate, |event| aggregated(name, event))
        };
        let features = version.plan.definition.features.iter();
        features.map(|(name, feature)| (name.clone(), value(name, &feature.rule))).collect()
    }

    /// What the inputs say at that very moment.
    fn mixed(&self, version: &ViewVersion, key: &Key, t: Time) -> i64 {
        let row = self.row(self.input(version, "last"), key, t);
        let int = |name: &str| match row.as_ref().map(|row| row[name].clone()) {
            Some(Value::Int(value)) => Some(value),
            _ => None,
        };
        let Value::Int(rows) = self.windows(self.input(version, "recent"), key, t)["rows"] else {
            panic!("counts are ints")
        };
        let items = self.input(version, "of_item");
        let (own, other) = (self.of_item(items, int("id"), t), self.of_item(items, key.1, t));
        let Rule::Sql(sql) = &version.plan.definition.features["mix"].rule else { panic!("{version:?}") };
        let weight: i64 = sql.rsplit(' ').next().unwrap().parse().unwrap();
        int("scaled").unwrap_or(0) + own.unwrap_or(0) - other.unwrap_or(0) + rows * weight
    }

    /// The last `n` of an item, whoever has it.
    fn of_item(&self, version: &ViewVersion, id: Option<i64>, t: Time) -> Option<i64> {
        let by_id = |id: i64| (Some(String::new()), Some(id));
        let events = self.events(version).into_iter();
        let events: Vec<Event> = events.map(|event| Event { key: by_id(event.id), ..event }).collect();
        let unique = newest_by(version.plan.source.as_ref().unwrap());
        newest(&events, &by_id(id?), t, None, KnownAt::Any, unique)?.n
    }
}

/// Which row of an id counts; nothing where all do.
fn newest_by(source: &Source) -> Option<&Newest> {
    (!source.unique.is_empty()).then_some(&source.newest)
}

fn windowed<'a>(version: &'a ViewVersion, rule: &Rule, name: &str) -> (Aggregate, Window<'a>) {
    let Rule::Window { aggregate, window, hop, .. } = rule else { panic!("{name}") };
    let unique = newest_by(version.plan.source.as_ref().unwrap());
    let seconds = |duration: &std::time::Duration| i64::try_from(duration.as_secs()).unwrap();
    (*aggregate, Window { seconds: seconds(window), hop: seconds(hop), unique })
}

/// What a windowed feature aggregates of an event; nothing where it does not count in it.
fn aggregated(feature: &str, event: &Event) -> Option<Value> {
    match feature {
        "n_sum" => event.n.map(Value::Int),
        "x_max" => event.x.map(Value::Float),
        "high" => event.n.filter(|n| *n > 1).map(|_| Value::Null),
        _ => Some(Value::Null),
    }
}

fn live(seeds: std::ops::Range<u64>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        for seed in seeds {
            let mut history = History::new(seed).await;
            for _ in 0..ACTS {
                history.act().await;
            }
            let checks = history.check(seed).await;
            println!("seed {seed}: {checks} checks, {}", json!({ "acts": ACTS, "rows": history.sent.len() }));
        }
    });
}

/// Worlds of which each has [`ENTITIES`] histories, cut so that the tests' threads share them.
#[test]
fn online_offline_and_an_oracle_agree_after_a_thousand_histories() {
    live(0..16);
}

#[test]
fn online_offline_and_an_oracle_agree_after_another_thousand_histories() {
    live(16..32);
}
