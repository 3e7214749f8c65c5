//! SQL of users: columns of any name, values that are no number, statements that never end, and what they may hold.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tidemill_core::{JobError, Time};
use tidemill_offline::{CommitRange, Error, LakeOptions, Stamp, TileRange, Version, View};
use tidemill_rows::{Row, rows_of};
use tidemill_spec::{Aggregate, Decimal, Objects, Operand, Rule, Type, Value};

use crate::world::{World, at, entity, feature, instant, row, source, text, view};

/// Runs for years.
const ENDLESS: &str = "SELECT count(*) AS n FROM range(1000000000000) a, range(1000000000000) b WHERE a.range % 7 = b.range % 11";

fn over_orders(features: Vec<(&str, Type, &str)>) -> (tidemill_spec::Source, View) {
    let columns =
        [("user_id", Type::Int), ("order", Type::String), ("clicks", Type::Int), ("views", Type::Int)];
    let orders = source("orders", &columns, &[]);
    let features =
        features.into_iter().map(|(name, ty, sql)| (name, feature(ty, Rule::Sql(sql.to_owned())))).collect();
    let of = view("v", &entity("user", &[("user_id", Type::Int)]), Ok(&orders), features);
    (orders, of)
}

fn order(user: i64, order: &str, clicks: i64, views: i64) -> Row {
    row([
        ("user_id", Value::Int(user)),
        ("order", text(order)),
        ("clicks", Value::Int(clicks)),
        ("views", Value::Int(views)),
        ("happened_at", instant(user)),
        ("valid_at", instant(user)),
        ("created_at", instant(user)),
        ("seq", Value::Int(user)),
        ("deleted", Value::Bool(false)),
    ])
}

fn column(rows: &[Row], name: &str) -> Vec<Value> {
    rows.iter().map(|row| row[name].clone()).collect()
}

async fn refused(world: &World, query: &str, version: Version) -> Error {
    world.lake.sql(query, &Objects::default(), &[], (version, Time::MAX_UTC), |_| Ok(())).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_may_be_named_like_a_word_of_sql() {
    let world = World::new().await;
    let (orders, of) = over_orders(vec![("o", Type::String, "order || '!'")]);
    let version = world.append(&orders, "one", &[order(1, "x", 1, 1)]).await;
    let computed = world.lake.compute_rows(&of, CommitRange::upto(version), (0, 1)).await.unwrap();
    assert_eq!(column(&rows_of(&computed.rows).unwrap(), "o"), [text("x!")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_value_is_becomes_null() {
    let world = World::new().await;
    let (orders, of) = over_orders(vec![
        ("rate", Type::Float, "clicks / views"),
        ("high", Type::Bool, "clicks / views > 0.5"),
        ("huge", Type::Float, "exp(clicks * 1000)"),
        ("nan", Type::Float, "'nan'::DOUBLE"),
        ("day", Type::Date, "DATE '2020-01-01' + CAST(clicks * 4000000 AS INTEGER)"),
        (
            "then",
            Type::Timestamp,
            "TIMESTAMPTZ '2020-01-01 00:00:00+00' - to_days(CAST(clicks * 800000 AS INTEGER))",
        ),
        ("text", Type::String, "chr(CAST(clicks AS INTEGER) % 3) || order"),
    ]);
    let rows = [order(1, "a", 1, 2), order(2, "b", 3, 0), order(3, "c", 0, 0)];
    let version = world.append(&orders, "one", &rows).await;
    let computed = world.lake.compute_rows(&of, CommitRange::upto(version), (0, 1)).await.unwrap();
    let rows = rows_of(&computed.rows).unwrap();
    assert_eq!(column(&rows, "rate"), [Value::Float(0.5), Value::Null, Value::Null]);
    assert_eq!(column(&rows, "high"), [Value::Bool(false), Value::Null, Value::Null]);
    assert_eq!(column(&rows, "huge"), [Value::Null, Value::Null, Value::Float(1.0)]);
    assert_eq!(column(&rows, "nan"), [Value::Null, Value::Null, Value::Null]);
    // Beyond the years 1 to 9999, and text with NUL.
    assert_eq!(column(&rows, "day")[..2], [Value::Null, Value::Null]);
    assert_eq!(column(&rows, "day")[2].to_string(), "2020-01-01");
    assert_eq!(column(&rows, "then")[..2], [Value::Null, Value::Null]);
    assert_eq!(column(&rows, "then")[2].to_string(), "2020-01-01T00:00:00Z");
    assert_eq!(column(&rows, "text"), [Value::String("\u{1}a".into()), Value::Null, Value::Null]);
    assert!(computed.refused.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_would_take_all_memory_is_refused_and_its_neighbours_are_computed() {
    let world = World::new().await;
    let (orders, of) = over_orders(vec![("n", Type::Int, "length(repeat(order, clicks))")]);
    let version = world.append(&orders, "one", &[order(1, "x", 2, 0), order(2, "x", 2_000_000_000, 0)]).await;
    let computed = world.lake.compute_rows(&of, CommitRange::upto(version), (0, 1)).await.unwrap();
    assert_eq!(column(&rows_of(&computed.rows).unwrap(), "n"), [Value::Int(2), Value::Null]);
    let refused = computed.refused.unwrap();
    assert_eq!(column(&rows_of(&refused.rows).unwrap(), "user_id"), [Value::Int(2)]);
    assert_eq!(refused.reasons, ["feature `n`: `repeat` makes more than 65,536 characters"],);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_takes_too_long_is_found_by_halves() {
    let world = World::with(LakeOptions { rows_seconds: 1, ..LakeOptions::default() }).await;
    let (orders, of) = over_orders(vec![(
        "n",
        Type::Int,
        "CASE WHEN clicks = 0 THEN 0 ELSE levenshtein(rpad(order, 9999, 'ab'), rpad('', 9998, 'ba')) \
         + levenshtein(rpad(order, 9997, 'ab'), rpad('', 9998, 'ba')) \
         + levenshtein(rpad(order, 9996, 'ab'), rpad('', 9998, 'ba')) \
         + levenshtein(rpad(order, 9995, 'ab'), rpad('', 9998, 'ba')) \
         + levenshtein(rpad(order, 9994, 'ab'), rpad('', 9998, 'ba')) \
         + levenshtein(rpad(order, 9993, 'ab'), rpad('', 9998, 'ba')) \
         + levenshtein(rpad(order, 9992, 'ab'), rpad('', 9998, 'ba')) \
         + levenshtein(rpad(order, 9991, 'ab'), rpad('', 9998, 'ba')) END",
    )]);
    let rows: Vec<Row> = (1..40).map(|user| order(user, "x", i64::from(user == 7), 0)).collect();
    let version = world.append(&orders, "one", &rows).await;
    let computed = world.lake.compute_rows(&of, CommitRange::upto(version), (0, 1)).await.unwrap();
    let values = column(&rows_of(&computed.rows).unwrap(), "n");
    assert_eq!((values.len(), &values[5], &values[6]), (39, &Value::Int(0), &Value::Null));
    let refused = computed.refused.unwrap();
    assert_eq!(column(&rows_of(&refused.rows).unwrap(), "user_id"), [Value::Int(7)]);
    assert_eq!(refused.reasons, ["this row alone takes longer than 1s"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_nobody_waits_for_any_more_makes_way_for_the_next() {
    let world = World::new().await;
    for _ in 0..4 {
        // As many as would fill every place, each dropped while it runs.
        let begun = refused(&world, ENDLESS, 0);
        assert!(tokio::time::timeout(Duration::from_millis(300), begun).await.is_err());
    }
    let objects = Objects::default();
    let one = world.lake.sql("SELECT 1 AS n", &objects, &[], (0, Time::MAX_UTC), |_| Ok(())).await.unwrap();
    assert_eq!(one.first, Some(row([("n", Value::Int(1))])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_takes_too_long_ends_and_is_not_repeated() {
    let world = World::with(LakeOptions { query_seconds: 1, ..LakeOptions::default() }).await;
    let error = refused(&world, ENDLESS, 0).await;
    assert!(matches!(error, Error::TooLong { .. }), "{error:?}");
    assert_eq!(error.fault().to_string(), "[TM0680] running a query took longer than 1s");
    assert!(matches!(JobError::from(error), JobError::Discard(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_refused_with_its_line_and_not_repeated() {
    let world = World::new().await;
    let (orders, _) = over_orders(vec![]);
    let version = world.append(&orders, "one", &[order(1, "x", 1, 1)]).await;
    let mut objects = Objects::default();
    objects.sources.insert("orders".to_owned(), orders);
    for (query, code, message, detail) in [
        (
            "SELEC 1 FROM orders",
            "TM0380",
            "syntax error at or near \"SELEC\"",
            "LINE 1: SELEC 1 FROM orders\n        ^",
        ),
        (
            "SELECT 1\nFROM nowhere",
            "TM0601",
            "Table with name nowhere does not exist",
            "LINE 2: FROM nowhere\n             ^",
        ),
        (
            "SELECT nope FROM orders",
            "TM0601",
            "\"nope\" not found",
            "LINE 1: SELECT nope FROM orders\n               ^",
        ),
        (
            "FROM source.ordres",
            "TM0325",
            "there is no table `source.ordres`",
            "LINE 1: FROM source.ordres\n                    ^",
        ),
        ("SELECT 1; SELECT 2", "TM0380", "a query is one", "LINE 1: SELECT 1; SELECT 2\n                ^"),
        (
            "FROM read_text('/etc/hostname')",
            "TM0601",
            "disabled",
            "LINE 1: FROM read_text('/etc/hostname')\n             ^",
        ),
        ("SELECT 1 AS a, 2 AS a", "TM0681", "two columns are named `a`", ""),
        ("SELECT INTERVAL 1 DAY AS i", "TM0681", "none of the types that can be declared", ""),
        ("SELECT [[1]] AS l", "TM0681", "none of the types that can be declared", ""),
        (
            "SELECT 9223372036854775807::HUGEINT + 1 AS s",
            "TM0681",
            "column `s` holds 9223372036854775808, which is not an int",
            "",
        ),
    ] {
        let error =
            world.lake.sql(query, &objects, &[], (version, Time::MAX_UTC), |_| Ok(())).await.unwrap_err();
        let fault = error.fault();
        assert_eq!(fault.code.map_or(String::new(), |code| code.to_string()), code, "{query}: {fault}");
        assert!(fault.message.contains(message) || fault.to_string().contains(message), "{query}: {fault:?}");
        assert_eq!(fault.detail.unwrap_or_default(), detail, "{query}");
        assert!(matches!(JobError::from(error), JobError::Discard(_)), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commonest_results_have_a_declared_type() {
    let world = World::new().await;
    let query = "SELECT sum(x) AS s, 0.1::DECIMAL(3, 1) AS d, [0.5, 2]::DOUBLE[] AS e, TIME '12:30:00' AS t, CAST(to_json([1, 2]) AS VARCHAR) AS l, \
                 5::UBIGINT AS u, NULL AS n FROM (VALUES (1), (2)) v (x)";
    let queried =
        world.lake.sql(query, &Objects::default(), &[], (0, Time::MAX_UTC), |_| Ok(())).await.unwrap();
    let expected = row([
        ("s", Value::Int(3)),
        ("d", Value::Decimal(Decimal::new(1, 1))),
        ("e", Value::List(vec![Value::Float(0.5), Value::Float(2.0)])),
        ("t", text("12:30:00")),
        ("l", text("[1,2]")),
        ("u", Value::Int(5)),
        ("n", Value::Null),
    ]);
    assert_eq!((queried.rows, queried.first), (1, Some(expected)));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_as_they_are_found_and_are_never_all_there() {
    let world = World::new().await;
    let largest = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&largest);
    let take = move |rows: &arrow::array::RecordBatch| {
        seen.fetch_max(rows.num_rows(), SeqCst);
        Ok(())
    };
    let queried = world
        .lake
        .sql("FROM range(3000000)", &Objects::default(), &[], (0, Time::MAX_UTC), take)
        .await
        .unwrap();
    assert_eq!(queried.rows, 3_000_000);
    assert!(largest.load(SeqCst) <= 10_000, "{largest:?} rows at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_tables_that_a_query_names_are_fetched() {
    let world = World::new().await;
    let (orders, _) = over_orders(vec![]);
    let other = source("other", &[("n", Type::Int)], &[]);
    world.append(&orders, "one", &[order(1, "x", 1, 1)]).await;
    let rest = row([
        ("n", Value::Int(1)),
        ("happened_at", instant(1)),
        ("valid_at", instant(1)),
        ("created_at", instant(1)),
        ("seq", Value::Int(1)),
        ("deleted", Value::Bool(false)),
    ]);
    let version = world.append(&other, "two", &[rest]).await;
    // A file that is gone is noticed by whoever fetches it.
    let files = world.lake.files(&tidemill_offline::Table::source("other"), version).await.unwrap();
    std::fs::remove_file(world.folder.path().join(&files[0].path)).unwrap();
    let mut objects = Objects::default();
    objects.sources.extend([("orders".to_owned(), orders), ("other".to_owned(), other)]);
    let query =
        |query: &'static str| world.lake.sql(query, &objects, &[], (version, Time::MAX_UTC), |_| Ok(()));
    assert_eq!(query("WITH w AS (FROM Orders) FROM w").await.unwrap().rows, 1);
    assert!(query("FROM other").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_value_is_does_not_count_in_a_window_and_rows_that_fail_are_told() {
    let world = World::new().await;
    let (orders, mut of) = over_orders(Vec::new());
    let windowed = |aggregate, of: &str| Rule::Window {
        aggregate,
        of: Some(Operand::from(of.to_owned())),
        condition: None,
        window: Duration::from_secs(60),
        hop: Duration::from_secs(60),
    };
    for (name, ty, rule) in [
        ("rates", Type::Float, windowed(Aggregate::Sum, "clicks / views")),
        ("huge", Type::Float, windowed(Aggregate::Max, "exp(clicks)")),
        ("roots", Type::Float, windowed(Aggregate::Sum, "sqrt(views - 1)")),
        ("letters", Type::String, windowed(Aggregate::Max, "\"order\" || chr(CAST(views AS INTEGER))")),
        ("order", Type::String, windowed(Aggregate::First, "order")),
    ] {
        of.definition.features.insert(name.to_owned(), feature(ty, rule));
    }
    let second =
        |clicks, views| Row::from_iter([order(1, "b", clicks, views), of_place(2)].into_iter().flatten());
    let rows = [order(1, "a", 1_000, 0), second(2, 1)];
    let version = world.append(&orders, "one", &rows).await;
    let range =
        TileRange { commits: CommitRange::upto(version), clock_before: None, clock: at(30), part: (0, 1) };
    let tiles = world.lake.tiles_touched(&of, range, Stamp { created_at: at(30), seq: 1 }).await.unwrap();
    let tiles = rows_of(&tiles).unwrap();
    assert_eq!(column(&tiles, "rates"), [Value::Float(2.0)]);
    assert_eq!(column(&tiles, "huge"), [Value::Float(2.0_f64.exp())]);
    assert_eq!(column(&tiles, "roots"), [Value::Float(0.0)]);
    assert_eq!(column(&tiles, "letters"), [text("b\u{1}")]);
    assert_eq!(column(&tiles, "order"), [text("a")]);
    let refused = world.lake.uncounted_rows(&of, CommitRange::upto(version)).await.unwrap().unwrap();
    assert_eq!(column(&rows_of(&refused.rows).unwrap(), "order"), [text("a")]);
    let [reason] = &refused.reasons[..] else { panic!("{refused:?}") };
    assert!(reason.contains("`roots`") && reason.contains("square root of a negative number"), "{reason}");
}

/// The columns that place a row at a second.
fn of_place(second: i64) -> Row {
    row([
        ("happened_at", instant(second)),
        ("valid_at", instant(second)),
        ("created_at", instant(second)),
        ("seq", Value::Int(second)),
    ])
}
