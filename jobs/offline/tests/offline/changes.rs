//! A source is declared otherwise after rows came in; and what a query sees of windows and of the future.

use std::time::Duration;

use tidemill_core::Time;
use tidemill_offline::{CommitRange, PitRequest, Read, Stamp, Table, TileRange};
use tidemill_rows::{Row, rows_of};
use tidemill_spec::{Aggregate, Objects, Rule, Source, Type, Value};

use crate::world::{World, at, entity, feature, instant, row, source, text, view};

fn readings(x: Type) -> Source {
    source("readings", &[("k", Type::String), ("x", x), ("seen_at", Type::Timestamp)], &[])
}

fn reading(x: Value, seconds: i64) -> Row {
    row([
        ("k", text("a")),
        ("x", x),
        ("seen_at", instant(seconds + 5)),
        ("happened_at", instant(seconds)),
        ("valid_at", instant(seconds)),
        ("created_at", instant(seconds)),
        ("seq", Value::Int(seconds)),
        ("deleted", Value::Bool(false)),
    ])
}

fn sum_of_x(source: &Source) -> tidemill_offline::View {
    let rule = Rule::Window {
        aggregate: Aggregate::Sum,
        column: Some("x".to_owned()),
        window: Duration::from_secs(3600),
        hop: Duration::from_secs(300),
    };
    view(
        "sums",
        &entity("thing", &[("k", Type::String)]),
        Ok(source),
        vec![("x_sum", feature(Type::Int, rule))],
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_of_another_type_is_read_as_the_declared_one_and_what_cannot_be_is_null_and_counted() {
    let world = World::new().await;
    let (then, now) = (readings(Type::String), readings(Type::Int));
    let old = ["abc", "12", "7", "1.5"].map(text).into_iter().zip(1..);
    world.append(&then, "old", &old.map(|(x, second)| reading(x, second)).collect::<Vec<_>>()).await;
    // Ints that a float could not hold, beside text.
    let exact = (1_i64 << 53) + 1;
    let version = world.append(&now, "new", &[reading(Value::Int(exact), 10)]).await;

    let stored = world.lake.stored_otherwise(&now, version).await.unwrap();
    let [column] = &stored.columns[..] else { panic!("{stored:?}") };
    assert_eq!((column.name.as_str(), column.converted, column.lost), ("x", 2, 2));
    assert_eq!((stored.rows, stored.available, column.example.as_deref()), (5, 0, Some("1.5")));
    assert!(stored.told(&now)[0].contains("column `x` is now declared int"), "{:?}", stored.told(&now));
    assert!(world.lake.stored_otherwise(&then, version).await.unwrap().told(&then).len() == 1);

    let sums = sum_of_x(&now);
    let range = TileRange { commits: CommitRange::upto(version), clock_before: None, clock: at(20) };
    let tiles =
        world.lake.tiles_touched(&sums, range, Stamp { created_at: at(20), seq: version }).await.unwrap();
    assert_eq!(rows_of(&tiles).unwrap()[0]["x_sum"], Value::Int(exact + 19));
    // Merging them would leave one type for both.
    assert_eq!(world.compact(&Table::source("readings")).await, 0);
    let all = world.lake.read(&Read::all(Table::source("readings"), version)).await.unwrap();
    assert_eq!(rows_of(&all).unwrap().last().unwrap()["x"], Value::Int(exact));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_of_a_type_that_has_no_cast_is_null_too() {
    let world = World::new().await;
    let (then, now) = (readings(Type::Int), readings(Type::Date));
    world.append(&then, "old", &[reading(Value::Int(7), 1)]).await;
    let day = Value::Date("2013-06-01".parse().unwrap());
    let version = world.append(&now, "new", &[reading(day.clone(), 2)]).await;
    let last = view(
        "last",
        &entity("thing", &[("k", Type::String)]),
        Ok(&now),
        vec![("x", feature(Type::Date, Rule::Last("x".to_owned())))],
    );
    let computed = world.lake.compute_rows(&last, CommitRange::upto(version), (0, 1)).await.unwrap();
    let x: Vec<Value> = rows_of(&computed.rows).unwrap().into_iter().map(|row| row["x"].clone()).collect();
    assert_eq!(x, [Value::Null, day]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_keep_the_moments_of_an_earlier_declaration_are_counted() {
    let world = World::new().await;
    let then = readings(Type::Int);
    let version = world.append(&then, "old", &[reading(Value::Int(1), 1), reading(Value::Int(2), 2)]).await;
    assert_eq!(world.lake.stored_otherwise(&then, version).await.unwrap().told(&then), Vec::<String>::new());
    let now = Source {
        available_time: "seen_at".to_owned(),
        created_time: Some("happened_at".to_owned()),
        ..then.clone()
    };
    let stored = world.lake.stored_otherwise(&now, version).await.unwrap();
    assert_eq!((stored.rows, stored.available, stored.created, stored.deleted), (2, 2, 0, 0));
    let told = stored.told(&now);
    assert!(told[0].contains("2 of 2 rows") && told[0].contains("`available_time: seen_at`"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_sees_windows_at_its_moment_and_nothing_later() {
    let world = World::new().await;
    let source = readings(Type::Int);
    let rows = [(1, 1), (2, 4000), (4, 9000)].map(|(x, second)| reading(Value::Int(x), second));
    let version = world.append(&source, "one", &rows).await;
    let sums = sum_of_x(&source);
    let mut objects = Objects::default();
    objects.sources.insert("readings".to_owned(), source.clone());
    let ask = async |query: &str, at: Time| {
        let rows = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let taken = std::sync::Arc::clone(&rows);
        let take = move |batch: &arrow::array::RecordBatch| {
            taken.lock().unwrap().extend(rows_of(batch)?);
            Ok(())
        };
        world.lake.sql(query, &objects, std::slice::from_ref(&sums), (version, at), take).await.unwrap();
        let rows = rows.lock().unwrap();
        rows.clone()
    };
    let [one] = &ask("SELECT k, x_sum FROM sums", at(4100)).await[..] else { panic!() };
    assert_eq!((&one["k"], &one["x_sum"]), (&text("a"), &Value::Int(2)));
    let [one] = &ask("SELECT * FROM \"view\".sums", at(8000)).await[..] else { panic!() };
    assert_eq!((&one["x_sum"], &one["valid_at"]), (&Value::Null, &Value::Null), "it has decayed");
    let counted = |rows: Vec<Row>| rows[0]["n"].clone();
    let count = "SELECT count(*) AS n FROM readings";
    assert_eq!(counted(ask(count, at(4100)).await), Value::Int(2));
    assert_eq!(counted(ask(count, Time::MAX_UTC).await), Value::Int(3));
    let values = world.lake.windows_at(&sums, version, at(9000)).await.unwrap();
    assert_eq!(rows_of(&values).unwrap()[0]["x_sum"], Value::Int(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn times_at_the_limits_of_the_calendar_can_be_asked_for() {
    let world = World::new().await;
    let source = readings(Type::Int);
    let never: Time = "9999-12-31T23:59:59.999999Z".parse().unwrap();
    let late =
        Row::from_iter(reading(Value::Int(9), 9).into_iter().map(|(name, value)| match name.as_str() {
            "happened_at" | "valid_at" => (name, Value::Timestamp(never)),
            _ => (name, value),
        }));
    let version = world.append(&source, "one", &[reading(Value::Int(1), 1), late]).await;
    let sums = sum_of_x(&source);
    let entities = world.lake.windows_at(&sums, version, never).await.unwrap();
    assert_eq!(rows_of(&entities).unwrap()[0]["x_sum"], Value::Int(9));
    for moment in [Time::MIN_UTC, Time::MAX_UTC, "0001-01-01T00:00:00Z".parse().unwrap(), never] {
        let request = PitRequest::at(&sums, &entities.project(&[0]).unwrap(), version, moment).unwrap();
        world.lake.point_in_time(&request).await.unwrap();
        let range =
            TileRange { commits: CommitRange::upto(version), clock_before: Some(at(0)), clock: moment };
        world.lake.tiles_touched(&sums, range, Stamp { created_at: at(0), seq: 1 }).await.unwrap();
    }
}
