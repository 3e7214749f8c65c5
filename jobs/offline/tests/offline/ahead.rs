//! Labels over windows that begin when they are asked, against the brute force: who is asked, which rows count, what has
//! matured; late rows, corrections, withdrawals, and the same answer again from an older version.

use std::time::Duration;

use chrono::TimeDelta;
use indexmap::IndexMap;
use tidemill_core::{Schedule, Time};
use tidemill_offline::{CommitRange, KnownAt, LabelRequest, Labels, Population, Table, View};
use tidemill_rows::{Row, rows_of};
use tidemill_spec::{
    Aggregate, Ahead, Asked, Feature, Label, Meta, Newest, Operand, Population as Declaration, Rule, Type,
    Value,
};

use crate::{
    brute::{self, Event, Key, complete, newest},
    generate::{Dice, SPAN, key_values},
    oracle::{Declared, arrive, declare},
    world::{World, at, entity, feature, instant, row, source, text, view},
};

const ROWS_WITHIN: i64 = 180;
const SUM_WITHIN: i64 = 300;
const LAST_WITHIN: i64 = 60;

fn aggregate(
    aggregate: Aggregate,
    of: Option<&str>,
    condition: Option<&str>,
    ty: Type,
    seconds: i64,
) -> Feature {
    let rule = Rule::Window {
        aggregate,
        of: of.map(|of| Operand::from(of.to_owned())),
        condition: condition.map(str::to_owned),
        window: Duration::from_secs(seconds as u64),
        hop: Duration::from_micros(1),
    };
    feature(ty, rule)
}

fn label(entity: &str, source: &str, sql: &str, ty: Type, aggregates: &[(&str, Feature)]) -> Label {
    let aggregates: IndexMap<String, Feature> =
        aggregates.iter().map(|(name, aggregate)| ((*name).to_owned(), aggregate.clone())).collect();
    // What is asked is resolved already; of the declaration only the aggregates are read.
    let population = Declaration::Rows { source: source.to_owned(), asked_at: String::new() };
    Label {
        name: "gone".to_owned(),
        meta: Meta::default(),
        entity: entity.to_owned(),
        source: source.to_owned(),
        ty,
        sql: sql.to_owned(),
        asked: Asked::Ahead(Ahead { population, aggregates }),
    }
}

/// Null where rows were there, but the last has no `n`.
const ANSWER: &str = "CASE WHEN rows = 0 THEN -100 ELSE last_n END + coalesce(sum_n, 1000)";

fn declared_label(source: &str) -> Label {
    let aggregates = [
        ("rows", aggregate(Aggregate::Count, None, None, Type::Int, ROWS_WITHIN)),
        ("sum_n", aggregate(Aggregate::Sum, Some("n"), Some("x < 1"), Type::Int, SUM_WITHIN)),
        ("last_n", aggregate(Aggregate::Last, Some("n"), None, Type::Int, LAST_WITHIN)),
    ];
    label("pair", source, ANSWER, Type::Int, &aggregates)
}

/// The rows of an entity that count in `(t, t + seconds]`: what the world knew at its end.
fn ahead<'a>(
    events: &'a [Event],
    key: &Key,
    t: Time,
    seconds: i64,
    unique: Option<&Newest>,
) -> Vec<&'a Event> {
    let end = t + TimeDelta::seconds(seconds);
    let known = || events.iter().filter(|event| event.valid_at <= end);
    let ended = |event: &Event| match unique {
        Some(by) => known().any(|other| other.id == event.id && other.rank(by) > event.rank(by)),
        None => known().any(|other| other.deleted && other.key == event.key && other.order() > event.order()),
    };
    let mut rows: Vec<&Event> = known()
        .filter(|event| event.valid_at > t && event.key == *key && !event.deleted && !ended(event))
        .collect();
    rows.sort_by_key(|event| event.order());
    rows
}

fn answer(events: &[Event], key: &Key, t: Time, unique: Option<&Newest>) -> Option<i64> {
    let rows = ahead(events, key, t, ROWS_WITHIN, unique).len();
    let small = ahead(events, key, t, SUM_WITHIN, unique).into_iter();
    let small: Vec<i64> =
        small.filter(|event| event.x.is_some_and(|x| x < 1.0)).filter_map(|event| event.n).collect();
    let sum = if small.is_empty() { 1000 } else { small.iter().sum() };
    let last = ahead(events, key, t, LAST_WITHIN, unique).into_iter().filter_map(|event| event.n).next_back();
    (if rows == 0 { Some(-100) } else { last }).map(|base| base + sum)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Of {
    LastRows,
    Windows,
    DerivedAbove,
    SourceRows,
}

impl Of {
    const ALL: [Self; 4] = [Self::LastRows, Self::Windows, Self::DerivedAbove, Self::SourceRows];

    fn population(self, declared: &Declared, cron: &str) -> Population {
        let view = match self {
            Self::LastRows => &declared.last,
            Self::Windows => &declared.windows,
            Self::DerivedAbove => &declared.above,
            Self::SourceRows => {
                let asked_at = "happened_at + INTERVAL 30 SECOND".to_owned();
                return Population::Rows { source: Box::new(declared.source.clone()), asked_at };
            }
        };
        Population::Entities { view: Box::new(view.clone()), schedule: Schedule::new(cron, "UTC").unwrap() }
    }

    /// Whether a view has a value for a key at a moment.
    fn has(self, declared: &Declared, events: &[Event], key: &Key, t: Time) -> bool {
        let last = || newest(events, key, t, declared.ttl, KnownAt::Any, declared.unique()).is_some();
        let windows = || {
            declared.windows.definition.features.values().any(|feature| {
                let Rule::Window { window, hop, .. } = &feature.rule else { panic!("{feature:?}") };
                let (seconds, hop) = (window.as_secs() as i64, hop.as_secs() as i64);
                let window = brute::Window { seconds, hop, unique: declared.unique() };
                !window.rows(events, key, t, KnownAt::Any).is_empty()
            })
        };
        match self {
            Self::LastRows => last(),
            Self::Windows => windows(),
            Self::DerivedAbove => last() || windows(),
            Self::SourceRows => unreachable!(),
        }
    }

    /// Who is asked when, in order, and how many rows lack a key.
    fn asked(
        self,
        declared: &Declared,
        events: &[Event],
        request: &LabelRequest,
        minutes: i64,
    ) -> (Vec<(Time, Key)>, i64) {
        let within = |t: Time| t >= request.from && t < request.to && t <= request.clock;
        let mut asked: Vec<(Time, Key)> = Vec::new();
        if self == Self::SourceRows {
            let asked_at = |event: &Event| event.valid_at + TimeDelta::seconds(30);
            let replaced = |event: &Event| {
                let mut by_then = events.iter().filter(|other| other.valid_at <= asked_at(event));
                declared.unique().is_some_and(|by| {
                    by_then.any(|other| other.id == event.id && other.rank(by) > event.rank(by))
                })
            };
            let rows = events.iter().filter(|event| !event.deleted && !replaced(event));
            let rows = rows.map(|event| (asked_at(event), event.key.clone()));
            let (whole, incomplete): (Vec<_>, Vec<_>) =
                rows.filter(|(t, _)| within(*t)).partition(|(_, key)| complete(key));
            asked.extend(whole);
            asked.sort();
            return (asked, incomplete.len() as i64);
        }
        let keys: std::collections::BTreeSet<&Key> = events.iter().map(|event| &event.key).collect();
        for t in (0..=SPAN / 60).filter(|minute| minute % minutes == 0).map(|minute| at(minute * 60)) {
            let of = keys.iter().filter(|key| complete(key) && self.has(declared, events, key, t));
            asked.extend(of.filter(|_| within(t)).map(|key| (t, (*key).clone())));
        }
        (asked, 0)
    }
}

fn expected(
    declared: &Declared,
    events: &[Event],
    of: Of,
    request: &LabelRequest,
    minutes: i64,
) -> (Vec<Row>, i64, i64) {
    let (asked, incomplete) = of.asked(declared, events, request, minutes);
    let longest = TimeDelta::seconds(SUM_WITHIN);
    // Where no row is there yet, none is no answer.
    let arrived = events.iter().map(|event| event.valid_at).filter(|at| *at <= request.clock).max();
    let matured = asked.iter().filter(|(t, _)| arrived.is_some_and(|arrived| *t + longest <= arrived));
    let answered = matured.map(|(t, key)| (t, key, answer(events, key, *t, declared.unique())));
    let (known, unknown): (Vec<_>, Vec<_>) = answered.partition(|(.., answer)| answer.is_some());
    let rows = known.into_iter().map(|(t, key, answer)| {
        let [a, b] = key_values(key);
        row([
            ("a", a),
            ("b", b),
            ("label_ts", Value::Timestamp(*t)),
            ("event_time", Value::Timestamp(*t)),
            ("matured_at", Value::Timestamp(*t + longest)),
            ("gone", Value::Int(answer.unwrap())),
        ])
    });
    (rows.collect(), asked.len() as i64 + incomplete, unknown.len() as i64 + incomplete)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_label_is_what_looking_at_every_row_after_its_moment_gives() {
    let world = World::new().await;
    let mut labels = 0;
    for seed in 7_000..7_008 {
        labels += check_world(&world, seed).await;
    }
    println!("{labels} labels");
    assert!(labels >= 800, "only {labels} labels");
}

async fn check_world(world: &World, seed: u64) -> usize {
    let mut dice = Dice(seed);
    let declared = declare(seed, &mut dice);
    let table = Table::source(&declared.source.name);
    let (mut events, mut labels): (Vec<Event>, usize) = (Vec::new(), 0);
    let mut pinned: Vec<(LabelRequest, Labels)> = Vec::new();
    for batch in 0..3 {
        events.extend(arrive(world, &declared, &mut dice, batch).await);
        for of in Of::ALL {
            let minutes = dice.pick(&[1, 2, 3]);
            let (one, other) = (dice.moment(), dice.moment());
            let request = LabelRequest {
                label: declared_label(&declared.source.name),
                entity: declared.last.entity.clone(),
                source: declared.source.clone(),
                population: Some(of.population(&declared, &format!("*/{minutes} * * * *"))),
                from: one.min(other) - TimeDelta::minutes(5),
                to: one.max(other),
                clock: at(SPAN) + TimeDelta::seconds(dice.pick(&[-600, -300, 0, 600])),
                version: world.lake.head().await.unwrap(),
            };
            let found = world.lake.labels(&request).await.unwrap();
            let (rows, asked, left_out) = expected(&declared, &events, of, &request, minutes);
            let told = format!("seed {seed}, batch {batch}, {of:?} every {minutes} minutes, {request:?}");
            assert_eq!(rows_of(&found.rows).unwrap(), rows, "{told}");
            assert_eq!((found.asked, found.left_out), (Some(asked), left_out), "{told}");
            labels += rows.len();
            pinned.push((request, found));
        }
    }
    world.compact(&table).await;
    world.compact(&declared.last.table()).await;
    // Later rows change nothing of what an older version says, nor does a merge.
    for (request, found) in &pinned {
        let again = world.lake.labels(request).await.unwrap();
        assert_eq!(again.rows, found.rows, "seed {seed}: {request:?}");
        assert_eq!((again.asked, again.left_out), (found.asked, found.left_out));
    }
    labels
}

/// Users who log in, and whether they do within a minute.
fn churn(zone: &str, cron: &str) -> (View, LabelRequest) {
    let user = entity("user", &[("user", Type::String)]);
    let events = source("events", &[("user", Type::String), ("action", Type::String)], &[]);
    let seen = view(
        "seen",
        &user,
        Ok(&events),
        vec![("action", feature(Type::String, Rule::Last("action".to_owned())))],
    );
    let n = aggregate(Aggregate::Count, None, Some("action = 'login'"), Type::Int, 60);
    let request = LabelRequest {
        label: label("user", "events", "n = 0", Type::Bool, &[("n", n)]),
        entity: user,
        source: events,
        population: Some(Population::Entities {
            view: Box::new(seen.clone()),
            schedule: Schedule::new(cron, zone).unwrap(),
        }),
        from: at(0),
        to: at(86_400),
        clock: at(86_400),
        version: 0,
    };
    (seen, request)
}

fn event(user: &str, action: &str, seconds: i64, created: i64, seq: i64) -> Row {
    row([
        ("user", text(user)),
        ("action", text(action)),
        ("happened_at", instant(seconds)),
        ("valid_at", instant(seconds)),
        ("created_at", instant(created)),
        ("seq", Value::Int(seq)),
        ("deleted", Value::Bool(false)),
    ])
}

/// `USER@SECOND: answer` of each row.
fn told(labels: &Labels) -> Vec<String> {
    let rows = rows_of(&labels.rows).unwrap();
    let second = |value: &Value| match value {
        Value::Timestamp(time) => (*time - at(0)).num_seconds(),
        other => panic!("{other:?}"),
    };
    rows.iter().map(|row| format!("{}@{}: {}", row["user"], second(&row["label_ts"]), row["gone"])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_begins_after_the_moment_and_holds_its_end() {
    let world = World::new().await;
    let (seen, request) = churn("UTC", "*/1 * * * *");
    let rows = [
        event("edge", "login", 60, 60, 1),
        event("end", "visit", 30, 30, 2),
        event("end", "login", 120, 120, 3),
        event("quiet", "visit", 30, 30, 4),
    ];
    let version = world.append(&request.source, "rows", &rows).await;
    world.cover(&seen, CommitRange::upto(version)).await;
    let at_clock = |seconds| LabelRequest { clock: at(seconds), version: version + 1, ..request.clone() };
    // A row of the very moment is known to features; one of the very end is in the window.
    let labels = world.lake.labels(&at_clock(120)).await.unwrap();
    assert_eq!(told(&labels), ["edge@60: true", "end@60: false", "quiet@60: true"]);
    assert_eq!((labels.asked, labels.matured()), (Some(6), 3), "those of 120 have not matured");
    let labels = world.lake.labels(&at_clock(119)).await.unwrap();
    assert_eq!((told(&labels).len(), labels.asked), (0, Some(3)), "a moment before nothing has");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_row_changes_the_label_from_the_version_on_that_has_it() {
    let world = World::new().await;
    let (seen, request) = churn("UTC", "*/5 * * * *");
    let first = [event("ada", "visit", 10, 10, 1), event("eve", "visit", 900, 900, 3)];
    let first = world.append(&request.source, "first", &first).await;
    world.cover(&seen, CommitRange::upto(first)).await;
    let before = world.lake.head().await.unwrap();
    // Half an hour later it comes to light that she had logged in.
    let late = world.append(&request.source, "late", &[event("ada", "login", 330, 2_000, 2)]).await;
    world.cover(&seen, CommitRange::one(late)).await;
    let of_version = |version| LabelRequest { version, to: at(600), ..request.clone() };
    let told_at = async |version| told(&world.lake.labels(&of_version(version)).await.unwrap());
    assert_eq!(told_at(before).await, ["ada@300: true"]);
    assert_eq!(told_at(world.lake.head().await.unwrap()).await, ["ada@300: false"]);
    assert_eq!(told_at(before).await, ["ada@300: true"], "an older version stays as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_day_is_one_of_the_time_zone_also_where_the_clocks_change() {
    let world = World::new().await;
    let (seen, request) = churn("America/New_York", "0 0 * * *");
    // Six days around 10 March 2013, when New York's clocks went forward.
    let time = |text: &str| text.parse::<Time>().unwrap();
    let early = (time("2013-03-08T12:00:00Z") - at(0)).num_seconds();
    let late = (time("2013-03-13T12:00:00Z") - at(0)).num_seconds();
    let rows = [event("ada", "visit", early, early, 1), event("eve", "visit", late, late, 2)];
    let version = world.append(&request.source, "rows", &rows).await;
    world.cover(&seen, CommitRange::upto(version)).await;
    let request = LabelRequest {
        from: time("2013-03-01T00:00:00Z"),
        to: time("2013-03-12T04:00:00Z"),
        version: version + 1,
        ..request
    };
    let labels = world.lake.labels(&request).await.unwrap();
    let moments: Vec<String> =
        rows_of(&labels.rows).unwrap().iter().map(|row| row["label_ts"].to_string()).collect();
    // The first midnight after she came, and none at `to`.
    assert_eq!(moments, ["2013-03-09T05:00:00Z", "2013-03-10T05:00:00Z", "2013-03-11T04:00:00Z"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_whose_sql_fails_on_an_entity_leaves_it_out_and_an_empty_population_is_empty() {
    let world = World::new().await;
    let (seen, request) = churn("UTC", "*/5 * * * *");
    let nobody = world.lake.labels(&request).await.unwrap();
    assert_eq!((nobody.rows.num_rows(), nobody.asked, nobody.left_out), (0, Some(0), 0));
    let rows = [
        event("ada", "visit", 10, 10, 1),
        event("bob", "login", 10, 10, 2),
        event("bob", "login", 301, 301, 3),
        event("eve", "visit", 900, 900, 4),
    ];
    let version = world.append(&request.source, "rows", &rows).await;
    world.cover(&seen, CommitRange::upto(version)).await;
    let sql = "CAST(CASE WHEN n = 0 THEN 'none' ELSE '1' END AS INTEGER) = 1".to_owned();
    let label = Label { sql, ..request.label.clone() };
    let labels = LabelRequest { label, to: at(600), version: version + 1, ..request.clone() };
    let labels = world.lake.labels(&labels).await.unwrap();
    assert_eq!(told(&labels), ["bob@300: true"]);
    assert_eq!((labels.asked, labels.matured(), labels.left_out), (Some(2), 2, 1));
    let error = world.lake.labels(&LabelRequest { population: None, ..request }).await.unwrap_err();
    assert_eq!(error.fault().to_string(), "[TM0602] label `gone` is asked without its population");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_because_of_what_came_later() {
    let world = World::new().await;
    let (_, request) = churn("UTC", "0 0 * * *");
    let columns = [("user", Type::String), ("signed_up_at", Type::Timestamp)];
    let signup = |signed_up: i64, known: i64, seq: i64| {
        row([
            ("user", text("ada")),
            ("signed_up_at", instant(signed_up)),
            ("happened_at", instant(known)),
            ("valid_at", instant(known)),
            ("created_at", instant(known)),
            ("seq", Value::Int(seq)),
            ("deleted", Value::Bool(false)),
        ])
    };
    let labels = async |source: &tidemill_spec::Source, version| {
        let asked_at = "signed_up_at".to_owned();
        let population = Some(Population::Rows { source: Box::new(source.clone()), asked_at });
        world.lake.labels(&LabelRequest { population, version, ..request.clone() }).await
    };
    world.append(&request.source, "rows", &[event("eve", "visit", 900, 900, 9)]).await;
    // What was so at its moment is asked, whatever a correction makes of it later; the correction asks nobody.
    let upserts = source("signups", &columns, &["user"]);
    let version = world.append(&upserts, "rows", &[signup(10, 10, 1), signup(20, 500, 2)]).await;
    assert_eq!(told(&labels(&upserts, version).await.unwrap()), ["ada@10: true"]);
    // Without unique columns each row is one of its own.
    let rows = source("visits", &columns, &[]);
    let version = world.append(&rows, "rows", &[signup(10, 10, 1), signup(20, 500, 2)]).await;
    assert_eq!(
        labels(&rows, version).await.unwrap_err().fault().to_string(),
        "[TM0414] label `gone` is asked of 1 rows of source `visits` before they are known"
    );
}
