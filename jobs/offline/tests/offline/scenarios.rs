//! The point-in-time contract, one named sentence after the other. Times are seconds, keys are letters.
//! Columns have names that a statement of ours might want for itself.

use std::time::Duration;

use tidemill_offline::{CommitRange, KnownAt, PitRead, PitRequest};
use tidemill_rows::{Row, rows_of};
use tidemill_spec::{Aggregate, Feature, Rule, Source, Type, Value};

use crate::world::{World, at, entity, feature, instant, row, source, text, view};

/// `(key, valid_at, created_at, n)`; `n` of `None` is a null, `Some(DELETED)` a deletion. `seq` is the place.
type Given = (&'static str, i64, i64, Option<i64>);

const DELETED: i64 = -999;
/// What is expected where the default is taken.
const DEFAULT: Option<i64> = Some(-1);

struct Scenario {
    name: &'static str,
    given: &'static [Given],
    ttl: Option<u64>,
    known_at: KnownAt,
    asked: (&'static str, i64),
    last: Option<i64>,
    /// Rows in the 60 s window with a hop of 30 s, of which those with one `n` are the same.
    rows: i64,
}

const PLAIN: Scenario = Scenario {
    name: "",
    given: &[],
    ttl: None,
    known_at: KnownAt::Any,
    asked: ("a", 100),
    last: DEFAULT,
    rows: 0,
};

fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario { name: "nothing known gives the default, and counts nothing", ..PLAIN },
        Scenario {
            name: "a row of the same moment counts",
            given: &[("a", 100, 100, Some(1))],
            last: Some(1),
            rows: 1,
            ..PLAIN
        },
        Scenario { name: "a row of a later moment does not", given: &[("a", 101, 90, Some(1))], ..PLAIN },
        Scenario { name: "another key's row does not", given: &[("b", 90, 90, Some(1))], ..PLAIN },
        Scenario {
            name: "the newest row wins, whenever it came",
            given: &[("a", 95, 95, Some(2)), ("a", 90, 99, Some(1))],
            last: Some(2),
            rows: 2,
            ..PLAIN
        },
        Scenario {
            name: "of the same moment the one accepted later wins",
            given: &[("a", 90, 95, Some(2)), ("a", 90, 91, Some(1))],
            last: Some(2),
            rows: 2,
            ..PLAIN
        },
        Scenario {
            name: "of the same moment and acceptance the later in the source wins",
            given: &[("a", 90, 90, Some(1)), ("a", 90, 90, Some(2))],
            last: Some(2),
            rows: 2,
            ..PLAIN
        },
        Scenario {
            name: "the winner's null is a null",
            given: &[("a", 80, 80, Some(1)), ("a", 90, 90, None)],
            last: None,
            rows: 2,
            ..PLAIN
        },
        Scenario {
            name: "a deletion ends the value",
            given: &[("a", 80, 80, Some(1)), ("a", 90, 90, Some(DELETED))],
            rows: 0,
            ..PLAIN
        },
        Scenario {
            name: "what comes after a deletion counts again",
            given: &[("a", 80, 80, Some(DELETED)), ("a", 90, 90, Some(3))],
            last: Some(3),
            rows: 1,
            ..PLAIN
        },
        Scenario {
            name: "exactly as old as the ttl still counts",
            given: &[("a", 70, 70, Some(1))],
            ttl: Some(30),
            last: Some(1),
            rows: 1,
            ..PLAIN
        },
        Scenario {
            name: "older than the ttl is expired",
            given: &[("a", 69, 69, Some(1))],
            ttl: Some(30),
            rows: 1,
            ..PLAIN
        },
        Scenario {
            name: "a correction counts, though it was not known then",
            given: &[("a", 90, 90, Some(1)), ("a", 90, 500, Some(2))],
            last: Some(2),
            rows: 2,
            ..PLAIN
        },
        Scenario {
            name: "a correction does not count under known_at label",
            given: &[("a", 90, 90, Some(1)), ("a", 90, 500, Some(2))],
            known_at: KnownAt::Label,
            last: Some(1),
            rows: 1,
            ..PLAIN
        },
        Scenario {
            name: "known at the very moment counts under known_at label",
            given: &[("a", 90, 90, Some(1)), ("a", 90, 100, Some(2))],
            known_at: KnownAt::Label,
            last: Some(2),
            rows: 2,
            ..PLAIN
        },
        Scenario {
            name: "a fixed cut-off is inclusive and later than the label may be",
            given: &[("a", 90, 90, Some(1)), ("a", 90, 500, Some(2)), ("a", 90, 501, Some(3))],
            known_at: KnownAt::Time(at(500)),
            last: Some(2),
            rows: 2,
            ..PLAIN
        },
        // 100 - 60 = 40, floored to 30: rows after 30 count.
        Scenario {
            name: "the tail is floored to the hop, and open",
            given: &[("a", 30, 30, Some(1)), ("a", 31, 31, Some(2))],
            last: Some(2),
            rows: 1,
            ..PLAIN
        },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_of_the_join_holds_sentence_by_sentence() {
    let world = World::new().await;
    for (place, scenario) in scenarios().into_iter().enumerate() {
        let found = answer(&world, place, &scenario).await;
        let last = scenario.last.map_or(Value::Null, Value::Int);
        assert_eq!((&found["row"], &found["at"]), (&last, &Value::Int(scenario.rows)), "{}", scenario.name);
    }
}

async fn answer(world: &World, place: usize, scenario: &Scenario) -> Row {
    let key = entity("key", &[("key", Type::String)]);
    let columns = [("key", Type::String), ("n", Type::Int), ("gone", Type::Bool)];
    let source = source(&format!("given_{place}"), &columns, &[]);
    let source = Source { deleted: Some("gone".to_owned()), ..source };
    let last = Feature { default: Some(Value::Int(-1)), ..feature(Type::Int, Rule::Last("n".to_owned())) };
    let mut last = view(&format!("last_{place}"), &key, Ok(&source), vec![("row", last)]);
    last.definition.ttl = scenario.ttl.map(Duration::from_secs);
    let rule = Rule::Window {
        aggregate: Aggregate::Count,
        of: None,
        condition: None,
        window: Duration::from_secs(60),
        hop: Duration::from_secs(30),
    };
    let windows =
        view(&format!("windows_{place}"), &key, Ok(&source), vec![("at", feature(Type::Int, rule))]);
    let rows: Vec<Row> =
        scenario.given.iter().enumerate().map(|(seq, given)| given_row(given, seq as i64)).collect();
    let version = world.append(&source, "given", &rows).await;
    world.cover(&last, CommitRange::one(version)).await;
    let labels = tidemill_rows::batch_of(
        &label_schema(),
        &[row([("key", text(scenario.asked.0)), ("label_ts", instant(scenario.asked.1))])],
    );
    let request = PitRequest {
        labels: labels.unwrap(),
        label_ts: "label_ts".to_owned(),
        reads: vec![PitRead::all(last), PitRead::all(windows)],
        version: world.lake.head().await.unwrap(),
        known_at: scenario.known_at,
        on_demand: None,
    };
    rows_of(&world.lake.point_in_time(&request).await.unwrap()).unwrap().remove(0)
}

fn given_row((key, valid_at, created_at, n): &Given, seq: i64) -> Row {
    row([
        ("key", text(key)),
        ("n", n.filter(|n| *n != DELETED).map_or(Value::Null, Value::Int)),
        ("happened_at", instant(*valid_at)),
        ("valid_at", instant(*valid_at)),
        ("created_at", instant(*created_at)),
        ("seq", Value::Int(seq)),
        ("gone", Value::Bool(*n == Some(DELETED))),
        ("deleted", Value::Bool(*n == Some(DELETED))),
    ])
}

fn label_schema() -> arrow::datatypes::SchemaRef {
    let fields = ["key", "label_ts"].into_iter().zip([Type::String, Type::Timestamp]);
    let fields: Vec<_> = fields.map(|(name, ty)| tidemill_rows::field(name, ty)).collect();
    arrow::datatypes::Schema::new(fields).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_come_from_what_an_earlier_view_says() {
    let world = World::new().await;
    let (flight, plane) =
        (entity("flight", &[("key", Type::String)]), entity("plane", &[("tail", Type::String)]));
    let columns = [("key", Type::String), ("tail", Type::String), ("n", Type::Int)];
    let plan: Source = source("plan", &columns, &[]);
    let of_plan = view(
        "planned",
        &flight,
        Ok(&plan),
        vec![("tail", feature(Type::String, Rule::Last("tail".to_owned())))],
    );
    let of_tail =
        view("delay", &plane, Ok(&plan), vec![("n", feature(Type::Int, Rule::Last("n".to_owned())))]);
    let planned = |k: &str, tail: &str, at, n| {
        let mut planned = given_row(&("", at, at, Some(n)), n);
        planned.extend(row([("key", text(k)), ("tail", text(tail))]));
        planned
    };
    let rows = [planned("a", "N1", 10, 1), planned("b", "N1", 50, 2), planned("a", "N2", 60, 3)];
    let version = world.append(&plan, "rows", &rows).await;
    for view in [&of_plan, &of_tail] {
        world.cover(view, CommitRange::one(version)).await;
    }
    let asked = [("a", 55), ("a", 60), ("c", 60)];
    let asked: Vec<Row> =
        asked.iter().map(|(k, t)| row([("key", text(k)), ("label_ts", instant(*t))])).collect();
    let from = tidemill_spec::KeyOrigin::Feature { view: "planned".to_owned(), feature: "tail".to_owned() };
    let request = PitRequest {
        labels: tidemill_rows::batch_of(&label_schema(), &asked).unwrap(),
        label_ts: "label_ts".to_owned(),
        // The key need not be asked for to be read.
        reads: vec![
            PitRead { features: Vec::new(), ..PitRead::all(of_plan) },
            PitRead { keys: vec![from], ..PitRead::all(of_tail) },
        ],
        version: world.lake.head().await.unwrap(),
        known_at: KnownAt::Any,
        on_demand: None,
    };
    let found = rows_of(&world.lake.point_in_time(&request).await.unwrap()).unwrap();
    let found: Vec<&Value> = found.iter().map(|row| &row["n"]).collect();
    assert_eq!(found, [&Value::Int(2), &Value::Int(3), &Value::Null]);
}
