//! A source is declared otherwise after rows came in; and what a query sees of windows and of the future.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use arrow::datatypes::Schema;
use tidemill_blobs::{BlobOptions, Blobs};
use tidemill_core::Time;
use tidemill_offline::{CommitRange, Filter, LakeOptions, PitRequest, Read, Sought, Stamp, Table, TileRange};
use tidemill_rows::{Row, batch_of, field, rows_of};
use tidemill_spec::{Aggregate, Decimal, Objects, Operand, Rule, Source, Type, Value};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

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
        of: Some(Operand::Column("x".to_owned())),
        condition: None,
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
    assert_eq!((stored.rows, stored.timeless, column.example.as_deref()), (5, 0, Some("1.5")));
    assert!(stored.told(&now)[0].contains("column `x` is now declared int"), "{:?}", stored.told(&now));
    assert!(world.lake.stored_otherwise(&then, version).await.unwrap().told(&then).len() == 1);

    let sums = sum_of_x(&now);
    let range =
        TileRange { commits: CommitRange::upto(version), clock_before: None, clock: at(20), part: (0, 1) };
    let tiles =
        world.lake.tiles_touched(&sums, range, Stamp { created_at: at(20), seq: version }).await.unwrap();
    assert_eq!(rows_of(&tiles).unwrap()[0]["x_sum"], Value::Int(exact + 19));
    // Merging them would leave one type for both.
    assert_eq!(world.compact(&Table::source("readings")).await, 0);
    let all = world.lake.read(&Read::all(Table::source("readings"), version)).await.unwrap();
    assert_eq!(rows_of(&all).unwrap().last().unwrap()["x"], Value::Int(exact));
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_became_decimals_or_lists_are_read_as_an_upload_would_read_them() {
    let world = World::new().await;
    let price: Type = "decimal(9,2)".parse().unwrap();
    let two: Type = "float[2]".parse().unwrap();
    let read_as = async |job: &str, old: Vec<(Type, Value)>, now: Type| {
        let mut version = 0;
        let named = |ty| Source { name: format!("readings_{job}"), ..readings(ty) };
        for (place, (ty, value)) in old.into_iter().enumerate() {
            let second = i64::try_from(place).unwrap() + 1;
            version = world.append(&named(ty), &format!("{place}"), &[reading(value, second)]).await;
        }
        let last = view(
            &format!("last_{job}"),
            &entity("thing", &[("k", Type::String)]),
            Ok(&named(now)),
            vec![("x", feature(now, Rule::Last("x".to_owned())))],
        );
        let computed = world.lake.compute_rows(&last, CommitRange::upto(version), (0, 1)).await.unwrap();
        rows_of(&computed.rows).unwrap().into_iter().map(|row| row["x"].clone()).collect::<Vec<_>>()
    };
    let cents = |cents| Value::Decimal(Decimal::new(cents, 2));
    let old = vec![
        (Type::Float, Value::Float(0.1)),
        (Type::Float, Value::Float(0.125)),
        (Type::String, text("-7.5")),
        ("decimal(20,5)".parse().unwrap(), Value::Decimal(Decimal::new(150_000, 5))),
        ("decimal(20,5)".parse().unwrap(), Value::Decimal(Decimal::new(150_001, 5))),
    ];
    let expected = [cents(10), Value::Null, cents(-750), cents(150), Value::Null];
    assert_eq!(read_as("decimals", old, price).await, expected);

    let list = |items: &[f64]| Value::List(items.iter().copied().map(Value::Float).collect());
    let old = vec![
        (Type::String, text("[0.1, 2]")),
        ("float[]".parse().unwrap(), list(&[0.1, 1e-300])),
        ("float[3]".parse().unwrap(), list(&[1.0, 2.0, 3.0])),
        (two, list(&[5.0, -0.0])),
    ];
    let expected = [list(&[0.1, 2.0]), list(&[0.1, 1e-300]), Value::Null, list(&[5.0, -0.0])];
    assert_eq!(read_as("lists", old, two).await, expected);

    let words: Type = "string[]".parse().unwrap();
    let said = Value::List(vec![text("a, b"), text("\"")]);
    assert_eq!(read_as("texts", vec![(words, said.clone())], Type::String).await, [text(r#"["a, b","\""]"#)]);
    assert_eq!(read_as("words", vec![(Type::String, text(r#"["a, b","\""]"#))], words).await, [said]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_keeps_its_length_when_files_are_merged_or_an_entity_is_erased() {
    let world = World::new().await;
    let source = readings("float[2]".parse().unwrap());
    let list = |first: f64| Value::List(vec![Value::Float(first), Value::Float(-0.0)]);
    for second in 1..=3 {
        let mut row = reading(list(second as f64), second);
        row.insert("k".to_owned(), text(if second == 2 { "gone" } else { "a" }));
        world.append(&source, &format!("{second}"), &[row]).await;
    }
    let table = Table::source("readings");
    assert_eq!(world.compact(&table).await, 1);
    let sought = Sought { key: vec![("k".to_owned(), text("gone"))], in_files: vec![Vec::new()] };
    for file in world.lake.files_ever(&table).await.unwrap() {
        let Some(holding) = world.lake.holding(&table, file, &sought).await.unwrap() else { continue };
        let staged = world.lake.without(&table, &holding.file, &sought).await.unwrap();
        let mut tx = world.database.pool.begin().await.unwrap();
        assert!(world.lake.swap(&mut tx, &table, &holding.file, staged.as_ref()).await.unwrap());
        tx.commit().await.unwrap();
    }
    let version = world.lake.head().await.unwrap();
    // Nothing was stored otherwise: every file says the length.
    assert_eq!(world.lake.stored_otherwise(&source, version).await.unwrap().columns, []);
    let last = view(
        "last",
        &entity("thing", &[("k", Type::String)]),
        Ok(&source),
        vec![("x", feature("float[2]".parse().unwrap(), Rule::Last("x".to_owned())))],
    );
    let computed = world.lake.compute_rows(&last, CommitRange::upto(version), (0, 1)).await.unwrap();
    assert_eq!(computed.rows.schema(), last.schema());
    let x: Vec<Value> = rows_of(&computed.rows).unwrap().into_iter().map(|row| row["x"].clone()).collect();
    assert_eq!(x, [list(1.0), list(3.0)]);
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
async fn rows_follow_the_times_that_their_source_declares_whenever_they_came() {
    let world = World::new().await;
    let then = Source { unique: vec!["k".to_owned()], ..readings(Type::Int) };
    // The world knew of each five seconds after it happened.
    let rows: Vec<Row> = [1, 2, 9].map(|second| reading(Value::Int(second), second)).into();
    let version = world.append(&then, "old", &rows).await;
    let mended = Source { available_time: "seen_at".to_owned(), ..then.clone() };
    let entity = entity("thing", &[("k", Type::String)]);
    let last = |source: &Source| {
        let x = feature(Type::Int, Rule::Last("x".to_owned()));
        view("last", &entity, Ok(source), vec![("x", x)])
    };
    let count = |source: &Source| {
        let rule = Rule::Window {
            aggregate: Aggregate::Count,
            of: None,
            condition: None,
            window: Duration::from_secs(3600),
            hop: Duration::from_secs(300),
        };
        view("count", &entity, Ok(source), vec![("n", feature(Type::Int, rule))])
    };
    let who =
        batch_of(&Arc::new(Schema::new(vec![field("k", Type::String)])), &[row([("k", text("a"))])]).unwrap();
    for (source, known) in [(&then, [1, 9, 9]), (&mended, [0, 2, 9])] {
        let table = format!("{}/{}", source.name, source.available_time);
        let computed =
            world.lake.compute_rows(&last(source), CommitRange::upto(version), (0, 1)).await.unwrap();
        let valid: Vec<Value> =
            rows_of(&computed.rows).unwrap().into_iter().map(|row| row["valid_at"].clone()).collect();
        let shift = if source.available_time == "seen_at" { 5 } else { 0 };
        assert_eq!(valid, [1, 2, 9].map(|second| instant(second + shift)), "{table}");
        for (at_second, known) in [1, 11, 20].into_iter().zip(known) {
            let counted = PitRequest::at(&count(source), &who, version, at(at_second)).unwrap();
            let counted = rows_of(&world.lake.point_in_time(&counted).await.unwrap()).unwrap();
            assert_eq!(counted[0]["n"], Value::Int(i64::from(known > 0)), "{table} at {at_second}");
            let touched = TileRange {
                commits: CommitRange::upto(version),
                clock_before: None,
                clock: at(at_second),
                part: (0, 1),
            };
            let (view, stamp) = (count(source), Stamp { created_at: at(20), seq: 1 });
            let tiles = world.lake.tiles_touched(&view, touched, stamp).await.unwrap();
            assert_eq!(tiles.num_rows(), usize::from(known > 0), "{table} at {at_second}");
        }
        let read = rows_of(&world.lake.read(&Read::source(source, version)).await.unwrap()).unwrap();
        assert_eq!(read[0]["valid_at"], instant(1 + shift));
    }
    assert_eq!(
        world.lake.stored_otherwise(&mended, version).await.unwrap().told(&mended),
        Vec::<String>::new()
    );
    // Of a row that has no such time it can't be said when it was known.
    let absent = Source {
        available_time: "told_at".to_owned(),
        ..source("readings", &[("k", Type::String), ("told_at", Type::Timestamp)], &[])
    };
    let told = world.lake.stored_otherwise(&absent, version).await.unwrap().told(&absent);
    assert!(told[0].contains("3 of 3 rows") && told[0].contains("`available_time: told_at`"), "{told:?}");
    assert_eq!(world.lake.read(&Read::source(&absent, version)).await.unwrap().num_rows(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_hold_no_row_of_what_is_asked_are_not_opened() {
    let world = World::new().await;
    let source = readings(Type::Int);
    let mut version = 0;
    for (second, x) in [(1, 1), (4_000, 2), (8_000, 4)] {
        version = world.append(&source, &format!("at {second}"), &[reading(Value::Int(x), second)]).await;
    }
    let files = world.lake.files(&Table::source("readings"), version).await.unwrap();
    for file in [&files[0], &files[2]] {
        std::fs::remove_file(world.folder.path().join(&file.path)).unwrap();
    }
    let sums = sum_of_x(&source);
    let who =
        batch_of(&Arc::new(Schema::new(vec![field("k", Type::String)])), &[row([("k", text("a"))])]).unwrap();
    let ask = async |second| {
        let request = PitRequest::at(&sums, &who, version, at(second)).unwrap();
        world.lake.point_in_time(&request).await.map(|found| rows_of(&found).unwrap()[0]["x_sum"].clone())
    };
    assert_eq!(ask(5_000).await.unwrap(), Value::Int(2));
    assert!(ask(9_000).await.is_err() && ask(3_000).await.is_err(), "these need the files that are gone");
    let passed = TileRange {
        commits: CommitRange { after: version, upto: version },
        clock_before: Some(at(3_700)),
        clock: at(5_000),
        part: (0, 1),
    };
    let tiles =
        world.lake.tiles_touched(&sums, passed, Stamp { created_at: at(5_000), seq: version }).await.unwrap();
    assert_eq!(rows_of(&tiles).unwrap()[0]["x_sum"], Value::Int(2));
    let between = Some(("valid_at".to_owned(), at(3_000), at(5_000)));
    let read = |source: &Source| Read {
        filter: Filter { between: between.clone(), ..Filter::default() },
        ..Read::source(source, version)
    };
    assert_eq!(world.lake.read(&read(&source)).await.unwrap().num_rows(), 1);
    // What is known of the files was known of other times.
    let otherwise = Source { available_time: "seen_at".to_owned(), ..source };
    assert!(world.lake.read(&read(&otherwise)).await.is_err());
}

/// A way to a server on which every request is counted that asks for an object of the lake.
async fn counted(server: String) -> (String, Arc<Mutex<Vec<String>>>) {
    let (listener, asked) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), Arc::<Mutex<Vec<String>>>::default());
    let (address, log) = (listener.local_addr().unwrap(), Arc::clone(&asked));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(server.trim_start_matches("http://")).await.unwrap();
            let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
                (client.into_split(), server.into_split());
            let log = Arc::clone(&log);
            tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
            tokio::spawn(async move {
                let mut bytes = vec![0; 1 << 16];
                while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
                    let text = String::from_utf8_lossy(&bytes[..count]);
                    let line = text.lines().next().unwrap_or_default();
                    if line.starts_with("GET ") || line.starts_with("HEAD ") {
                        log.lock().unwrap().push(line.to_owned());
                    }
                    to_server.write_all(&bytes[..count]).await.unwrap();
                }
            });
        }
    });
    (format!("http://{address}"), asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn on_s3_no_request_is_made_for_a_file_that_is_pruned_or_here() {
    let bucket = tidemill_testkit::s3::bucket().await.unwrap();
    let (endpoint, asked) = counted(bucket.endpoint).await;
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(&BlobOptions {
        url: format!("s3://{}", bucket.name),
        endpoint: Some(endpoint),
        access_key: Some(bucket.access_key),
        secret_key: Some(bucket.secret_key),
        cache: Some(folder.path().join("cache")),
        ..BlobOptions::default()
    });
    let world = World::over(LakeOptions::default(), blobs.unwrap(), folder).await;
    let source = readings(Type::Int);
    let mut version = 0;
    for (second, x) in [(1, 1), (4_000, 2), (8_000, 4)] {
        version = world.append(&source, &format!("at {second}"), &[reading(Value::Int(x), second)]).await;
    }
    let requests = || std::mem::take(&mut *asked.lock().unwrap()).len();
    assert_eq!(requests(), 0, "what is staged is only written");
    let sums = sum_of_x(&source);
    let who =
        batch_of(&Arc::new(Schema::new(vec![field("k", Type::String)])), &[row([("k", text("a"))])]).unwrap();
    for (second, x, wanted) in [(5_000, 2, 1), (5_001, 2, 0), (9_000, 4, 1), (2_000, 1, 1)] {
        let request = PitRequest::at(&sums, &who, version, at(second)).unwrap();
        let found = rows_of(&world.lake.point_in_time(&request).await.unwrap()).unwrap();
        assert_eq!((&found[0]["x_sum"], requests()), (&Value::Int(x), wanted), "at {second}");
    }
}

/// Rows of two entities within the window, in a file for each quarter of an hour.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_window_the_hours_of_new_rows_are_read_and_no_others() {
    let world = World::new().await;
    let source = readings(Type::Int);
    let of = |key: &str, second: i64| {
        let mut row = reading(Value::Int(1), second);
        row.insert("k".to_owned(), text(key));
        row
    };
    let quarters = [601, 1_501, 2_401, 3_301];
    let mut before = 0;
    for second in quarters {
        before = world.append(&source, &format!("at {second}"), &[of("a", second), of("b", second)]).await;
    }
    let version = world.append(&source, "late and new", &[of("a", 1_502), of("a", 3_302)]).await;
    let files = world.lake.files(&Table::source("readings"), version).await.unwrap();
    for file in [&files[0], &files[2]] {
        std::fs::remove_file(world.folder.path().join(&file.path)).unwrap();
    }
    let touched = async |source: &Source, clock| {
        let range = TileRange {
            commits: CommitRange { after: before, upto: version },
            clock_before: Some(at(3_301)),
            clock: at(clock),
            part: (0, 1),
        };
        let stamp = Stamp { created_at: at(clock), seq: version };
        let tiles = rows_of(&world.lake.tiles_touched(&sum_of_x(source), range, stamp).await?).unwrap();
        let told = |row: &Row| (row["k"].clone(), row["_tile"].clone(), row["x_sum"].clone());
        Ok::<_, tidemill_offline::Error>(tiles.iter().map(told).collect::<Vec<_>>())
    };
    let two_in_tile_of =
        |second| (text("a"), Value::Int((at(second).timestamp() - 1).div_euclid(300)), Value::Int(2));
    let (late, new) = (two_in_tile_of(1_502), two_in_tile_of(3_302));
    assert_eq!(touched(&source, 3_400).await.unwrap(), [late, new.clone()]);
    // What is behind the window when the row comes changes nothing.
    assert_eq!(touched(&source, 5_400).await.unwrap(), [new]);
    // Where a row may replace any other, those between may end one.
    let unique = Source { unique: vec!["x".to_owned()], ..source };
    assert!(touched(&unique, 3_400).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_sees_values_at_its_moment_and_nothing_later() {
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
    let values = world.lake.values_at(&sums, version, at(9000)).await.unwrap();
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
    let entities = world.lake.values_at(&sums, version, never).await.unwrap();
    assert_eq!(rows_of(&entities).unwrap()[0]["x_sum"], Value::Int(9));
    for moment in [Time::MIN_UTC, Time::MAX_UTC, "0001-01-01T00:00:00Z".parse().unwrap(), never] {
        let request = PitRequest::at(&sums, &entities.project(&[0]).unwrap(), version, moment).unwrap();
        world.lake.point_in_time(&request).await.unwrap();
        let range = TileRange {
            commits: CommitRange::upto(version),
            clock_before: Some(at(0)),
            clock: moment,
            part: (0, 1),
        };
        world.lake.tiles_touched(&sums, range, Stamp { created_at: at(0), seq: 1 }).await.unwrap();
    }
}
