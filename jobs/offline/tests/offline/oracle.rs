//! Random worlds against the brute force: the join, its ties, ttl, deletions, corrections, nulls and cut-offs;
//! windows, tiles, and views computed from others, of another entity and in two roles; before and after compaction.
//!
//! `TIDEMILL_ORACLE_SEED` and `TIDEMILL_ORACLE_WORLDS` choose other worlds; a failure names its seed.

use std::{sync::Arc, time::Duration};

use arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
};
use tidemill_core::Time;
use tidemill_offline::{CommitRange, KnownAt, PitRead, PitRequest, Stamp, Table, TileRange, Version, View};
use tidemill_rows::{Row, batch_of, field, rows_of};
use tidemill_spec::{
    Aggregate, Decimal, Digits, Element, Feature, KeyOrigin, Newest, OnDemand, Operand, Rule, Source, Type,
    Value,
};
use tidemill_windows::{Partial, Window};

use crate::{
    brute::{self, Event, Key, agree, complete, newest},
    generate::{Dice, cents, floats, key_values, source_row, spot},
    world::{World, entity, feature, input, row, source, view},
};

/// Everything one random world declares.
pub(crate) struct Declared {
    pub(crate) source: Source,
    pub(crate) last: View,
    pub(crate) ttl: Option<i64>,
    pub(crate) windows: View,
    /// The last row of an id, whatever its key.
    pub(crate) of_id: View,
    /// Over the last row, the windows, and the last rows of two ids: one that a feature names, and one that a key does.
    derived: View,
    /// Over that.
    pub(crate) above: View,
}

impl Declared {
    pub(crate) fn unique(&self) -> Option<&Newest> {
        (!self.source.unique.is_empty()).then_some(&self.source.newest)
    }
}

#[derive(Clone)]
struct Label {
    key: Key,
    at: Time,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_value_is_what_looking_at_every_row_gives() {
    let number =
        |name: &str, otherwise: u64| std::env::var(name).map_or(otherwise, |text| text.parse().unwrap());
    let first = number("TIDEMILL_ORACLE_SEED", 1);
    let world = World::new().await;
    let mut checks = 0;
    for seed in first..first + number("TIDEMILL_ORACLE_WORLDS", 16) {
        println!("seed {seed}");
        checks += check_world(&world, seed).await;
    }
    println!("{checks} checks");
    assert!(checks >= 10_000, "only {checks} checks");
}

/// Some events, which are in the source and in the views' rows.
pub(crate) async fn arrive(world: &World, declared: &Declared, dice: &mut Dice, batch: i64) -> Vec<Event> {
    let fresh: Vec<Event> =
        (0..10 + dice.roll(30)).map(|row| dice.event((batch << 40) + row as i64)).collect();
    let rows: Vec<Row> = fresh.iter().map(source_row).collect();
    let version = world.append(&declared.source, &format!("batch/{batch}"), &rows).await;
    world.cover(&declared.last, CommitRange::one(version)).await;
    world.cover(&declared.of_id, CommitRange::one(version)).await;
    fresh
}

async fn check_world(world: &World, seed: u64) -> usize {
    let mut dice = Dice(seed);
    let declared = declare(seed, &mut dice);
    let table = Table::source(&declared.source.name);
    let (mut events, mut checks): (Vec<Event>, usize) = (Vec::new(), 0);
    let mut pinned: Option<(PitRequest, RecordBatch)> = None;
    for batch in 0..3 {
        events.extend(arrive(world, &declared, &mut dice, batch).await);
        let head = world.lake.head().await.unwrap();
        // DuckDB joins few rows (up to 64) and many rows by operators that have nothing in common.
        let count = dice.pick(&[40, 150]);
        let labels: Vec<Label> = (0..count).map(|_| Label { key: dice.key(), at: dice.moment() }).collect();
        let limit = dice.moment();
        let mut answers = Vec::new();
        for known_at in [KnownAt::Label, KnownAt::Any, KnownAt::Time(limit)] {
            let request = request(&declared, &labels, head, known_at);
            let answer = world.lake.point_in_time(&request).await.unwrap();
            checks += compare(seed, &declared, &events, &labels, known_at, &answer);
            let (audited, others) = world.lake.audited(&request).await.unwrap();
            assert_eq!(audited, answer, "seed {seed}, {known_at:?}: the answer of an audit");
            answers.push((request, answer, others));
        }
        let (_, strict, none) = answers.remove(0);
        let (request, answer, others) = answers.remove(0);
        assert_eq!((none, others), (0, rows_that_differ(&strict, &answer)), "seed {seed}: the audit's count");
        pinned.get_or_insert((request, answer));
    }
    let (request, answer) = pinned.unwrap();
    for table in [&table, &declared.last.table(), &declared.of_id.table()] {
        world.compact(table).await;
    }
    let now = PitRequest { version: world.lake.head().await.unwrap(), ..request.clone() };
    let labels: Vec<Label> = labels_of(&request);
    for _ in 0..2 {
        assert_eq!(world.lake.point_in_time(&request).await.unwrap(), answer, "seed {seed}: pinned");
        let answer = world.lake.point_in_time(&now).await.unwrap();
        checks += compare(seed, &declared, &events, &labels, KnownAt::Any, &answer);
        // The second time the merged files stand for the replaced ones, which are gone.
        world.collect_garbage().await;
    }
    checks
}

fn rows_that_differ(a: &RecordBatch, b: &RecordBatch) -> u64 {
    rows_of(a).unwrap().iter().zip(rows_of(b).unwrap()).filter(|(a, b)| *a != b).count() as u64
}

/// Fails on a row whose `n` is 2.
const BUT_TWOS: &str = "CAST(CASE WHEN n = 2 THEN 'two' ELSE CAST(n AS VARCHAR) END AS BIGINT)";
/// Fails on a row whose `n` is 3; true of every other.
const BUT_THREES: &str = "CAST(CASE WHEN n = 3 THEN 'three' ELSE 'true' END AS BOOLEAN)";

const CENTS: Type = Type::Decimal(Digits::new(9, 2).unwrap());
const CENTS_SUM: Type = Type::Decimal(Digits::new(38, 2).unwrap());
const CENTS_LIST: Type = Type::List { of: Element::Decimal(Digits::new(9, 2).unwrap()), length: None };
const FLOATS: Type = Type::List { of: Element::Float, length: None };
const INTS: Type = Type::List { of: Element::Int, length: None };
const SPOT: Type = Type::List { of: Element::Float, length: Some(2) };

pub(crate) fn declare(seed: u64, dice: &mut Dice) -> Declared {
    let pair = entity("pair", &[("a", Type::String), ("b", Type::Int)]);
    let columns = [
        ("a", Type::String),
        ("b", Type::Int),
        ("id", Type::Int),
        ("x", Type::Float),
        ("n", Type::Int),
        ("cents", CENTS),
        ("spot", SPOT),
        ("gone", Type::Bool),
    ];
    let unique: &[&str] = if dice.chance(60) { &["id"] } else { &[] };
    let newest = match dice.roll(4) {
        0 => Newest::Accepted,
        1 => Newest::Column("n".to_owned()),
        _ => Newest::ValidAt,
    };
    let deleted = Some("gone".to_owned());
    let source = Source { deleted, newest, ..source(&format!("events_{seed}"), &columns, unique) };
    let ttl = dice.pick(&[None, Some(60), Some(300), Some(0)]);
    let last = |column: &str| Rule::Last(column.to_owned());
    let with_default = |feature: Feature, value| Feature { default: Some(value), ..feature };
    let mut last_view = view(
        &format!("last_{seed}"),
        &pair,
        Ok(&source),
        vec![
            ("last_x", feature(Type::Float, last("x"))),
            ("last_n", with_default(feature(Type::Int, last("n")), Value::Int(77))),
            ("double_n", feature(Type::Float, Rule::Sql("n * 2 + coalesce(x, 0)".to_owned()))),
            ("age", feature(Type::Float, Rule::Age)),
            ("last_cents", feature(CENTS, last("cents"))),
            ("last_spot", with_default(feature(SPOT, last("spot")), floats([7.0, 7.0]))),
            ("turned", feature(SPOT, Rule::Sql("[spot[2], spot[1]]".to_owned()))),
        ],
    );
    last_view.definition.ttl = ttl.map(|seconds| Duration::from_secs(seconds as u64));
    let mut windowed = |aggregate, of: Option<&str>, condition: Option<&str>, ty| {
        let (window, hop) = dice.pick(&[(180, 60), (420, 60), (600, 300), (60, 30), (300, 300)]);
        let rule = Rule::Window {
            aggregate,
            of: of.map(|of| Operand::from(of.to_owned())),
            condition: condition.map(str::to_owned),
            window: Duration::from_secs(window),
            hop: Duration::from_secs(hop),
        };
        feature(ty, rule)
    };
    let windows = vec![
        ("rows", windowed(Aggregate::Count, None, None, Type::Int)),
        ("count_x", windowed(Aggregate::Count, Some("x"), None, Type::Int)),
        ("sum_n", windowed(Aggregate::Sum, Some("n"), None, Type::Int)),
        ("sum_x", windowed(Aggregate::Sum, Some("x"), None, Type::Float)),
        ("mean_n", with_default(windowed(Aggregate::Mean, Some("n"), None, Type::Float), Value::Float(-1.0))),
        ("min_x", windowed(Aggregate::Min, Some("x"), None, Type::Float)),
        ("max_n", windowed(Aggregate::Max, Some("n"), None, Type::Int)),
        ("rows_above", windowed(Aggregate::Count, None, Some("n > 0"), Type::Int)),
        ("count_product", windowed(Aggregate::Count, Some("x * n"), Some("NOT gone"), Type::Int)),
        ("sum_product", windowed(Aggregate::Sum, Some("x * (n + 5)"), None, Type::Float)),
        ("sum_small", windowed(Aggregate::Sum, Some("n * 2 - id"), Some("x < 1"), Type::Int)),
        ("count_but_twos", windowed(Aggregate::Count, Some(BUT_TWOS), None, Type::Int)),
        ("mean_but_threes", windowed(Aggregate::Mean, Some("n"), Some(BUT_THREES), Type::Float)),
        ("stddev_n", windowed(Aggregate::Stddev, Some("n"), None, Type::Float)),
        ("first_x", windowed(Aggregate::First, Some("x"), None, Type::Float)),
        ("newest_n", windowed(Aggregate::Last, Some("n"), Some("x < 1"), Type::Int)),
        ("latest", windowed(Aggregate::Max, Some("happened_at"), None, Type::Timestamp)),
        ("min_name", windowed(Aggregate::Min, Some("a || CAST(n AS VARCHAR)"), None, Type::String)),
        ("distinct_ids", windowed(Aggregate::Distinct, Some("id"), None, Type::Int)),
        ("mode_n", windowed(Aggregate::Mode, Some("n"), None, Type::Int)),
        ("p75_x", windowed(Aggregate::Percentile { p: 0.75 }, Some("x"), None, Type::Float)),
        ("sum_cents", windowed(Aggregate::Sum, Some("cents"), None, CENTS_SUM)),
        ("max_cents", windowed(Aggregate::Max, Some("cents + 1"), None, CENTS)),
        ("last_three_x", windowed(Aggregate::LastN { n: 3 }, Some("x"), None, FLOATS)),
        ("last_two_cents", windowed(Aggregate::LastN { n: 2 }, Some("cents"), Some("n > 0"), CENTS_LIST)),
        ("top_two_n", windowed(Aggregate::Top { n: 2 }, Some("n"), None, INTS)),
        ("last_pair", windowed(Aggregate::Last, Some("[n, id]"), None, INTS)),
    ];
    let windows = view(&format!("windows_{seed}"), &pair, Ok(&source), windows);
    let numbered = entity("numbered", &[("id", Type::Int)]);
    let of_id = vec![("n", feature(Type::Int, last("n"))), ("x", feature(Type::Float, last("x")))];
    let of_id = view(&format!("of_id_{seed}"), &numbered, Ok(&source), of_id);
    let own = || ["a", "b"].map(|key| KeyOrigin::Request(key.to_owned())).to_vec();
    let named = KeyOrigin::Feature { view: last_view.name().to_owned(), feature: "last_n".to_owned() };
    let inputs = vec![
        input(&last_view, None, own()),
        input(&windows, None, own()),
        input(&of_id, Some("named"), vec![named]),
        input(&of_id, Some("same"), vec![KeyOrigin::Request("b".to_owned())]),
    ];
    let sql = |sql: &str| Rule::Sql(sql.to_owned());
    let derived = vec![
        ("stress", feature(Type::Float, sql("last_x * rows + mean_n"))),
        ("copy_n", feature(Type::Int, sql("last_n"))),
        ("ratio", with_default(feature(Type::Float, sql("sum_n / rows")), Value::Float(-5.0))),
        ("linked", feature(Type::Float, sql("named_x - coalesce(same_x, 100)"))),
        ("linked_n", with_default(feature(Type::Int, sql("same_n + b")), Value::Int(-7))),
        ("parsed", feature(Type::Int, sql(BUT_TWOS_OF_LAST))),
    ];
    let derived = view(&format!("derived_{seed}"), &pair, Err(inputs), derived);
    let above = vec![("higher", feature(Type::Float, sql("ratio + coalesce(linked, 0)")))];
    let above = view(&format!("above_{seed}"), &pair, Err(vec![input(&derived, None, own())]), above);
    Declared { source, last: last_view, ttl, windows, of_id, derived, above }
}

/// Fails where the last `n` is 2.
const BUT_TWOS_OF_LAST: &str =
    "CAST(CASE WHEN last_n = 2 THEN 'two' ELSE CAST(last_n AS VARCHAR) END AS BIGINT)";

fn label_schema() -> SchemaRef {
    let fields = vec![field("a", Type::String), field("b", Type::Int), field("label_ts", Type::Timestamp)];
    Arc::new(Schema::new(fields))
}

fn request(declared: &Declared, labels: &[Label], version: Version, known_at: KnownAt) -> PitRequest {
    let rows: Vec<Row> = labels
        .iter()
        .map(|label| {
            let [a, b] = key_values(&label.key);
            row([("a", a), ("b", b), ("label_ts", Value::Timestamp(label.at))])
        })
        .collect();
    let views = [&declared.last, &declared.windows, &declared.derived, &declared.above];
    let reads = views.map(|view| PitRead::all(view.clone())).to_vec();
    let labels = batch_of(&label_schema(), &rows).unwrap();
    let sql = |sql: &str| Rule::Sql(sql.to_owned());
    let asked = Feature { default: Some(Value::Float(-9.0)), ..feature(Type::Float, sql("higher + b")) };
    let on_demand = OnDemand {
        row: [("b".to_owned(), Type::Int), ("higher".to_owned(), Type::Float)].into(),
        features: [("asked".to_owned(), asked)].into(),
    };
    let (label_ts, on_demand) = ("label_ts".to_owned(), Some(on_demand));
    PitRequest { labels, label_ts, reads, version, known_at, on_demand }
}

fn labels_of(request: &PitRequest) -> Vec<Label> {
    let label = |row: Row| match (&row["a"], &row["b"], &row["label_ts"]) {
        (a, b, Value::Timestamp(at)) => {
            let a = if let Value::String(a) = a { Some(a.clone()) } else { None };
            let b = if let Value::Int(b) = b { Some(*b) } else { None };
            Label { key: (a, b), at: *at }
        }
        other => panic!("{other:?}"),
    };
    rows_of(&request.labels).unwrap().into_iter().map(label).collect()
}

fn compare(
    seed: u64,
    declared: &Declared,
    events: &[Event],
    labels: &[Label],
    known_at: KnownAt,
    answer: &RecordBatch,
) -> usize {
    let rows = rows_of(answer).unwrap();
    assert_eq!(rows.len(), labels.len(), "seed {seed}: every label row is kept");
    let mut checks = 0;
    for (place, (label, found)) in labels.iter().zip(rows).enumerate() {
        let mut wanted = last_values(declared, events, &label.key, label.at, known_at);
        wanted.extend(window_values(declared, events, &label.key, label.at, known_at));
        wanted.extend(derived_values(declared, events, &label.key, label.at, known_at));
        for (name, value) in wanted {
            assert!(
                agree(
                    declared.windows.definition.features.get(&name).map(|feature| &feature.rule),
                    &found[&name],
                    &value
                ),
                "seed {seed}, label {place} ({:?} at {}), {known_at:?}, ttl {:?}: `{name}` is {:?}, should be {value:?}\n\
                 {found:?}\n{}",
                label.key,
                label.at,
                declared.ttl,
                found[&name],
                told(events, &label.key),
            );
            checks += 1;
        }
    }
    checks
}

fn told(events: &[Event], key: &Key) -> String {
    let mut rows: Vec<&Event> = events.iter().filter(|event| event.key == *key).collect();
    rows.sort_by_key(|event| (event.valid_at, event.created_at, event.seq));
    rows.into_iter().map(|event| format!("  {event:?}\n")).collect()
}

fn last_values(
    declared: &Declared,
    events: &[Event],
    key: &Key,
    t: Time,
    known_at: KnownAt,
) -> Vec<(String, Value)> {
    let found = newest(events, key, t, declared.ttl, known_at, declared.unique());
    let float = |value: Option<f64>| value.map_or(Value::Null, Value::Float);
    let named = |name: &str, value| (name.to_owned(), value);
    let Some(event) = found else {
        let absent =
            ["last_x", "double_n", "age", "last_cents", "turned"].map(|name| named(name, Value::Null));
        let defaults = [named("last_n", Value::Int(77)), named("last_spot", floats([7.0, 7.0]))];
        return absent.into_iter().chain(defaults).collect();
    };
    let minutes = (t - event.valid_at).num_microseconds().unwrap() as f64 / 60e6;
    vec![
        named("last_x", float(event.x)),
        named("last_n", event.n.map_or(Value::Null, Value::Int)),
        named("double_n", float(event.n.map(|n| (n * 2) as f64 + event.x.unwrap_or(0.0)))),
        named("age", Value::Float(minutes)),
        named("last_cents", cents(event).unwrap_or(Value::Null)),
        named("last_spot", spot(event).map_or(Value::Null, floats)),
        named("turned", spot(event).map_or(Value::Null, |[a, b]| floats([b, a]))),
    ]
}

pub(crate) fn window_values(
    declared: &Declared,
    events: &[Event],
    key: &Key,
    t: Time,
    known_at: KnownAt,
) -> Vec<(String, Value)> {
    let features = declared.windows.definition.features.iter();
    features
        .map(|(name, feature)| {
            let Rule::Window { aggregate, window, hop, .. } = &feature.rule else { panic!("{name}") };
            let window = brute::Window {
                seconds: window.as_secs() as i64,
                hop: hop.as_secs() as i64,
                unique: declared.unique(),
            };
            let value = window.value(events, key, t, known_at, *aggregate, |event| aggregated(name, event));
            let value = if value.is_null() { feature.default.clone().unwrap_or(Value::Null) } else { value };
            (name.clone(), value)
        })
        .collect()
}

/// What a windowed feature aggregates of an event, in plain Rust; nothing where it does not count in it.
fn aggregated(feature: &str, event: &Event) -> Option<Value> {
    let (x, n) = (event.x, event.n);
    match feature {
        "rows" => Some(Value::Bool(true)),
        "rows_above" => n.filter(|n| *n > 0).map(Value::Int),
        "count_product" => n.filter(|_| !event.deleted).zip(x).map(|_| Value::Bool(true)),
        // SQL fails on a two, and as a condition on a three.
        "count_but_twos" => n.filter(|n| *n != 2).map(Value::Int),
        "mean_but_threes" => n.filter(|n| *n != 3).map(Value::Int),
        "sum_product" => x.zip(n).map(|(x, n)| Value::Float(x * (n + 5) as f64)),
        "sum_small" => n.filter(|_| x.is_some_and(|x| x < 1.0)).map(|n| Value::Int(n * 2 - event.id)),
        "newest_n" => n.filter(|_| x.is_some_and(|x| x < 1.0)).map(Value::Int),
        "sum_cents" => cents(event),
        "last_two_cents" => cents(event).filter(|_| n.is_some_and(|n| n > 0)),
        "max_cents" => cents(event).map(|cents| match cents {
            Value::Decimal(cents) => Value::Decimal(Decimal::new(cents.unscaled() + 100, 2)),
            other => other,
        }),
        "last_pair" => n.map(|n| Value::List(vec![Value::Int(n), Value::Int(event.id)])),
        "last_three_x" => x.map(Value::Float),
        "top_two_n" => n.map(Value::Int),
        "latest" => Some(Value::Timestamp(event.valid_at)),
        "min_name" => n.zip(event.key.0.as_ref()).map(|(n, a)| Value::String(format!("{a}{n}"))),
        "distinct_ids" => Some(Value::Int(event.id)),
        "count_x" | "sum_x" | "min_x" | "first_x" | "p75_x" => x.map(Value::Float),
        "sum_n" | "mean_n" | "max_n" | "stddev_n" | "mode_n" => n.map(Value::Int),
        other => panic!("{other}"),
    }
}

/// The expressions over what the inputs are at the moment of asking, in plain Rust.
fn derived_values(
    declared: &Declared,
    events: &[Event],
    key: &Key,
    t: Time,
    known_at: KnownAt,
) -> Vec<(String, Value)> {
    let mut inputs = last_values(declared, events, key, t, known_at);
    inputs.extend(window_values(declared, events, key, t, known_at));
    let value = |name: &str| inputs.iter().find(|(known, _)| known == name).unwrap().1.clone();
    let float = |name: &str| match value(name) {
        Value::Float(value) => Some(value),
        _ => None,
    };
    let int = |name: &str| match value(name) {
        Value::Int(value) => Some(value),
        _ => None,
    };
    let by_id = |id: i64| (Some(String::new()), Some(id));
    let of_ids: Vec<Event> =
        events.iter().map(|event| Event { key: by_id(event.id), ..event.clone() }).collect();
    let last_of = |id: Option<i64>| newest(&of_ids, &by_id(id?), t, None, known_at, declared.unique());
    let (named, same) = (last_of(int("last_n")), last_of(key.1));
    let rows = int("rows").unwrap();
    let stress = float("last_x").zip(float("mean_n")).map(|(x, mean)| x * rows as f64 + mean);
    let ratio = int("sum_n").filter(|_| rows != 0).map_or(-5.0, |sum| sum as f64 / rows as f64);
    let linked = named.and_then(|event| event.x).map(|x| x - same.and_then(|event| event.x).unwrap_or(100.0));
    let linked_n = same.and_then(|event| event.n).zip(key.1).map_or(-7, |(n, b)| n + b);
    let higher = ratio + linked.unwrap_or(0.0);
    let of = |value: Option<f64>| value.map_or(Value::Null, Value::Float);
    [
        ("stress", of(stress)),
        ("copy_n", value("last_n")),
        ("ratio", Value::Float(ratio)),
        ("linked", of(linked)),
        ("linked_n", Value::Int(linked_n)),
        ("parsed", int("last_n").filter(|n| *n != 2).map_or(Value::Null, Value::Int)),
        ("higher", Value::Float(higher)),
        ("asked", Value::Float(key.1.map_or(-9.0, |b| higher + b as f64))),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// What Redis would hold of an entity: `(hop, tile)` → the tile's row.
type Kept = std::collections::BTreeMap<(i64, i64), Row>;

#[tokio::test(flavor = "multi_thread")]
async fn tiles_and_last_rows_are_those_of_the_clock_when_only_touched_ones_are_replaced() {
    let world = World::new().await;
    let mut checks = 0;
    for seed in 1_000..1_008 {
        println!("seed {seed}");
        checks += check_tiles(&world, seed).await;
    }
    println!("{checks} checks");
}

async fn check_tiles(world: &World, seed: u64) -> usize {
    let mut dice = Dice(seed);
    let declared = declare(seed, &mut dice);
    let mut kept: std::collections::BTreeMap<Key, Kept> = std::collections::BTreeMap::new();
    let mut last: std::collections::BTreeMap<Key, Row> = std::collections::BTreeMap::new();
    let mut events: Vec<Event> = Vec::new();
    let (mut after, mut clock_before, mut checks) = (0, None, 0);
    let mut clocks: Vec<Time> = (0..5).map(|_| dice.moment()).collect();
    clocks.sort();
    for (batch, clock) in (0..).zip(clocks) {
        let fresh: Vec<Event> =
            (0..dice.roll(25)).map(|row| dice.event((batch << 40) + row as i64)).collect();
        let rows: Vec<Row> = fresh.iter().map(source_row).collect();
        let upto = world.append(&declared.source, &format!("batch/{batch}"), &rows).await;
        events.extend(fresh);
        let range = TileRange { commits: CommitRange { after, upto }, clock_before, clock, part: (0, 1) };
        let stamp = Stamp { created_at: clock, seq: upto };
        let tiles = world.lake.tiles_touched(&declared.windows, range, stamp).await.unwrap();
        replace(&mut kept, &rows_of(&tiles).unwrap());
        if declared.last.upserts() {
            let head = world.cover(&declared.last, CommitRange { after, upto }).await;
            let rows = world.lake.last_rows(&declared.last, range, head).await.unwrap();
            last.extend(rows_of(&rows).unwrap().into_iter().map(|row| (key_of(&row), row)));
        }
        (after, clock_before) = (upto, Some(clock));
        let keys: std::collections::BTreeSet<&Key> = events.iter().map(|event| &event.key).collect();
        for key in keys.into_iter().filter(|key| complete(key)) {
            if declared.last.upserts() {
                let wanted = newest(&events, key, clock, None, KnownAt::Any, declared.unique());
                let found = last.get(key).filter(|row| row["deleted"] == Value::Bool(false));
                let n = |event: &Event| event.n.map_or(Value::Null, Value::Int);
                assert_eq!(
                    found.map(|row| (&row["last_n"], &row["seq"])),
                    wanted.map(|event| (n(event), Value::Int(event.seq))).as_ref().map(|(n, seq)| (n, seq)),
                    "seed {seed}, batch {batch}, {key:?} at {clock}\n{}",
                    told(&events, key)
                );
                checks += 1;
            }
            let nothing = Kept::new();
            let tiles = kept.get(key).unwrap_or(&nothing);
            for (name, value) in window_values(&declared, &events, key, clock, KnownAt::Any) {
                let found = merged(&declared.windows, &name, tiles, clock);
                assert!(
                    agree(Some(&declared.windows.definition.features[&name].rule), &found, &value),
                    "seed {seed}, batch {batch}, {key:?} at {clock}: `{name}` is {found:?}, should be {value:?}\n\
                     {tiles:?}\n{}",
                    told(&events, key)
                );
                checks += 1;
            }
        }
    }
    checks
}

fn key_of(row: &Row) -> Key {
    match (&row["a"], &row["b"]) {
        (Value::String(a), Value::Int(b)) => (Some(a.clone()), Some(*b)),
        other => panic!("{other:?}"),
    }
}

fn replace(kept: &mut std::collections::BTreeMap<Key, Kept>, rows: &[Row]) {
    for row in rows {
        let (Value::Int(hop), Value::Int(tile)) = (&row["_hop_us"], &row["_tile"]) else { panic!("{row:?}") };
        kept.entry(key_of(row)).or_default().insert((*hop, *tile), row.clone());
    }
}

/// A window's value from tiles, as a reader of Redis merges them.
fn merged(view: &View, name: &str, tiles: &Kept, clock: Time) -> Value {
    let feature = &view.definition.features[name];
    let window = Window::of(feature).unwrap();
    let partial = |row: &Row| match row[&format!("_{name}_n")] {
        Value::Int(rows) => Partial { rows, value: row.get(name).cloned().unwrap_or(Value::Null) },
        _ => panic!("{row:?}"),
    };
    let of_hop = tiles.iter().filter(|((hop, _), _)| *hop == window.hop_us());
    let partials: Vec<(i64, Partial)> = of_hop.map(|((_, tile), row)| (*tile, partial(row))).collect();
    let partials = partials.iter().map(|(tile, partial)| (*tile, partial));
    let value = window.merge(partials, clock.timestamp_micros()).unwrap();
    if value.is_null() { feature.default.clone().unwrap_or(Value::Null) } else { value }
}
