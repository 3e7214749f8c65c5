use std::{collections::BTreeSet, fmt::Write as _};

use tidemill_blobs::{BlobOptions, Blobs};
use tidemill_core::Time;
use tidemill_ingest::jobs::{self, ReplayJob};
use tidemill_offline::Table;
use tidemill_runtime::JobEntry;
use tidemill_spec::{
    args::INGEST_CHUNK,
    steps::{self, INGEST},
};
use tidemill_testkit::{run_job, run_until_idle};

use crate::world::{PROJECT, World, line_of, row_of};

const CSV: &str = "\
origin,observed_at,hour,temp,windy,day
JFK,2013-01-01T06:00:00Z,1,39.5,true,2013-01-01
LGA,2013-01-01 06:00:00+00:00,2.0,,false,2013-01-01
\"E\"\"WR,\nnorth\",2013-01-01T01:00:00-05:00,3,1e1,,
JFK,2013-01-01T07:00:00Z,4,400,true,2013-01-01
JFK,yesterday,5,40,true,2013-01-01
,2013-01-01T08:00:00Z,six,40,true,2013-01-01
JFK,2013-01-01T09:00:00Z,7
JFK,2013-01-01T10:00:00Z,8,50,1,2013-01-01
";

const JSONL: &str = r#"{"origin":"JFK","observed_at":"2013-01-01T06:00:00Z","hour":1,"temp":39.5,"windy":true,"day":"2013-01-01"}
{"origin":"LGA","observed_at":"2013-01-01T06:00:00Z","hour":2,"windy":false,"day":"2013-01-01"}
{"origin":"E\"WR,\nnorth","observed_at":"2013-01-01T06:00:00Z","hour":3,"temp":10}
"#;

const NAMES: [&str; 6] = ["origin", "observed_at", "hour", "temp", "windy", "day"];

/// A Parquet file of the valid rows above, with the types that a data frame gives them.
fn parquet(world: &World, names: &[&str; 6]) -> Vec<u8> {
    let path = world.file("rows.parquet", "");
    let sql = format!(
        "COPY (SELECT * FROM (VALUES
            ('JFK', TIMESTAMP_NS '2013-01-01 06:00:00', 1.0::DOUBLE, 39.5::FLOAT, true, TIMESTAMP '2013-01-01'),
            ('LGA', TIMESTAMP_NS '2013-01-01 06:00:00', 2.0, NULL, false, TIMESTAMP '2013-01-01'),
            ('E\"WR,' || chr(10) || 'north', TIMESTAMP_NS '2013-01-01 06:00:00', 3.0, 10.0, NULL, NULL))
         AS rows ({})) TO '{}' (FORMAT parquet)",
        names.map(|name| format!("\"{name}\"")).join(", "),
        path.display()
    );
    duckdb::Connection::open_in_memory().unwrap().execute_batch(&sql).unwrap();
    std::fs::read(path).unwrap()
}

#[tokio::test]
async fn good_rows_are_in_the_lake_and_bad_ones_are_told_with_place_and_reason() {
    let world = World::new().await;
    let accepted = world.upload("weather.csv", CSV).await.unwrap();
    world.settle().await;
    let rows = world.rows(Table::source("weather")).await;
    insta::assert_snapshot!(world.digest().await);
    let upload = world.catalog.upload(accepted.upload).await.unwrap().unwrap();
    assert_eq!((upload.rows, upload.dead_letters, upload.naive_timestamps), (4, 4, false));
    assert!(upload.ignored.is_empty());
    assert_eq!(rows[3]["seq"].as_i64().unwrap(), (upload.ordinal << 40) + 7);
    assert_eq!(upload.newest_event_at, Some("2013-01-01T10:00:00Z".parse().unwrap()));
    let dead = world.ingest.dead_letters("weather", 100).await.unwrap();
    let places: Vec<_> =
        dead.iter().map(|dead| (row_of(dead), line_of(dead).unwrap(), dead.column.as_deref())).collect();
    assert_eq!(
        places,
        [(4, 6, Some("temp")), (5, 7, Some("observed_at")), (6, 8, Some("origin")), (7, 9, None)]
    );
    let lineage = world.catalog.lineage_down(&format!("upload/{}", accepted.upload)).await.unwrap();
    assert_eq!(lineage[0].to, "source/weather");
    assert_eq!(lineage[0].run, accepted.run);
    assert!(lineage.iter().any(|edge| edge.to == "feature/weather_now.temp@1"));
}

#[tokio::test]
async fn three_formats_give_the_same_rows() {
    let mut worlds = Vec::new();
    for format in ["csv", "jsonl", "parquet"] {
        let world = World::new().await;
        let bytes = match format {
            "csv" => CSV.lines().take(5).collect::<Vec<_>>().join("\r\n").into_bytes(),
            "jsonl" => JSONL.as_bytes().to_vec(),
            _ => parquet(&world, &NAMES),
        };
        world.upload(&format!("weather.{format}"), bytes).await.unwrap();
        world.settle().await;
        worlds.push(world.rows(Table::source("weather")).await);
    }
    assert_eq!(worlds[0].len(), 3);
    // A line end within quotes is taken as written.
    worlds[0][2]["origin"] = "E\"WR,\nnorth".into();
    assert_eq!(worlds[0], worlds[1]);
    assert_eq!(worlds[1], worlds[2]);
}

/// As an office program writes it in much of Europe.
#[tokio::test]
async fn a_csv_is_read_as_its_source_says_that_it_is_written() {
    let project = PROJECT
        .replace("origin: string\n  obs", "origin: { type: string, nullable: true, from: Flughafen }\n  obs")
        .replace("observed_at: timestamp", "observed_at: { type: timestamp, from: Zeit }")
        .replace(
            "event_time:",
            "csv: { delimiter: \";\", quote: \"'\", decimal: \",\", encoding: utf-16, null: [\"-\", \"NULL\"], \
             date_format: \"%d.%m.%y\", timestamp_format: \"%d.%m.%Y %H:%M:%S %z\" }\nevent_time:",
        );
    let csv = "Flughafen;Zeit;hour;temp;windy;day\r\n\
        JFK;01.01.2013 06:00:00 +0000;1;39,5;true;01.01.13\r\n\
        LGA;01.01.2013 06:00:00 +0000;2,0;-;false;01.01.13\r\n\
        'Zürich; ''nord''';01.01.2013 01:00:00 -0500;3;1e1;;NULL\r\n\
        NULL;01.01.2013 07:00:00 +0000;4;39.5;true;01.01.13\r\n\
        -;01.01.2013 08:00:00 +0000;5;1,5;true;01.01.13";
    let usual = "origin,observed_at,hour,temp,windy,day\n\
        JFK,2013-01-01T06:00:00Z,1,39.5,true,2013-01-01\n\
        LGA,2013-01-01T06:00:00Z,2,,false,2013-01-01\n\
        Zürich; 'nord',2013-01-01T06:00:00Z,3,10,,\n\
        ,2013-01-01T07:00:00Z,4,39.5°,true,2013-01-01\n\
        ,2013-01-01T08:00:00Z,5,1.5,true,2013-01-01";
    let bytes: Vec<u8> =
        "\u{feff}".encode_utf16().chain(csv.encode_utf16()).flat_map(u16::to_be_bytes).collect();
    let (world, plain) = (World::with_chunks_of(2).await, World::new().await);
    world.apply(&project).await;
    plain
        .apply(&PROJECT.replace("origin: string\n  obs", "origin: { type: string, nullable: true }\n  obs"))
        .await;
    let accepted = world.upload("office.csv", &bytes).await.unwrap();
    plain.upload("usual.csv", usual).await.unwrap();
    world.settle().await;
    plain.settle().await;
    let rows = world.rows(Table::source("weather")).await;
    assert_eq!((rows.len(), &rows), (4, &plain.rows(Table::source("weather")).await));
    let dead = world.ingest.dead_letters("weather", 9).await.unwrap();
    assert_eq!((row_of(&dead[0]), dead[0].reason.as_str()), (4, "`temp` should be float, but is `39.5`"));
    assert!(!world.catalog.upload(accepted.upload).await.unwrap().unwrap().naive_timestamps);

    // A corrected declaration reads the letters that are there.
    world.apply(&project.replace("decimal: \",\"", "decimal: \".\"")).await;
    let mut tx = world.engine.store.begin().await.unwrap();
    world.engine.store.enqueue(&mut tx, ReplayJob::of("weather")).await.unwrap();
    tx.commit().await.unwrap();
    world.settle().await;
    assert_eq!(world.rows(Table::source("weather")).await[3]["temp"], 39.5);
}

/// Each source makes its own text of the same bytes.
#[tokio::test]
async fn a_file_that_two_sources_decode_differently_is_read_by_each_in_its_own_way() {
    let world = World::new().await;
    let western = PROJECT.replace("event_time:", "csv: { encoding: latin-1 }\nevent_time:");
    let source = western.split("---\n").find(|part| part.contains("kind: Source")).unwrap();
    world.apply(&format!("{PROJECT}---\n{}", source.replace("name: weather", "name: western"))).await;
    let bytes = b"origin,observed_at\nZ\xfcrich,2013-01-01T06:00:00Z\nJFK,2013-01-01T06:00:00Z\n";
    for source in ["weather", "western"] {
        world.send(source, "western.csv", bytes, false).await.unwrap();
    }
    world.settle().await;
    let origins = |rows: Vec<serde_json::Map<String, serde_json::Value>>| -> Vec<_> {
        rows.into_iter().map(|row| row["origin"].clone()).collect()
    };
    assert_eq!(origins(world.rows(Table::source("western")).await), ["Zürich", "JFK"]);
    assert_eq!(origins(world.rows(Table::source("weather")).await), ["JFK"]);
    assert_eq!(
        world.ingest.dead_letters("weather", 9).await.unwrap()[0].reason,
        "is not UTF-8; Western text of old programs is read with `csv: { encoding: windows-1252 }`"
    );
}

#[tokio::test]
async fn what_is_not_declared_is_ignored_and_counted_kept_or_refused_in_every_format() {
    let csv = "Elev,origin,observed_at,at \"sea\"\n3,JFK,2013-01-01,a\n,LGA,2013-01-01,b\n,EWR,2013-01-01,\n";
    let csv = csv.replace("at \"sea\"", "\"at \"\"sea\"\"\"");
    let jsonl = r#"{"Elev":"3","origin":"JFK","observed_at":"2013-01-01","at \"sea\"":"a"}
{"origin":"LGA","observed_at":"2013-01-01","at \"sea\"":"b"}
{"origin":"EWR","observed_at":"2013-01-01","Elev":null}
"#;
    let parquet = |world: &World| {
        let path = world.file("extra.parquet", "");
        let sql = format!(
            "COPY (SELECT * FROM (VALUES ('3', 'JFK', DATE '2013-01-01', 'a'), (NULL, 'LGA', DATE '2013-01-01', 'b'),
                (NULL, 'EWR', DATE '2013-01-01', NULL)) AS rows (Elev, origin, observed_at, \"at \"\"sea\"\"\"))
             TO '{}' (FORMAT parquet)",
            path.display()
        );
        duckdb::Connection::open_in_memory().unwrap().execute_batch(&sql).unwrap();
        std::fs::read(path).unwrap()
    };
    for format in ["csv", "jsonl", "parquet"] {
        let bytes = |world: &World| match format {
            "csv" => csv.clone().into_bytes(),
            "jsonl" => jsonl.as_bytes().to_vec(),
            _ => parquet(world),
        };
        let name = format!("extra.{format}");
        let world = World::with_chunks_of(2).await;
        let accepted = world.upload(&name, bytes(&world)).await.unwrap();
        world.settle().await;
        let upload = world.catalog.upload(accepted.upload).await.unwrap().unwrap();
        // Nothing of JSON is not there, nothing of a table is a null in a column that is there.
        let rows = if format == "jsonl" { [2, 2] } else { [3, 3] };
        let ignored =
            [("Elev", rows[0]), ("at \"sea\"", rows[1])].map(|(name, rows)| (name.to_owned(), rows));
        assert_eq!((upload.rows, upload.dead_letters, upload.ignored), (3, 0, ignored.into()), "{format}");

        let world = World::with_chunks_of(2).await;
        world.apply(&PROJECT.replace("event_time:", "extra: keep\nevent_time:")).await;
        let accepted = world.upload(&name, bytes(&world)).await.unwrap();
        world.settle().await;
        let kept: Vec<_> = world
            .rows(Table::source("weather"))
            .await
            .into_iter()
            .map(|mut row| row.remove("extra"))
            .collect();
        let expected = [Some(r#"{"Elev":"3","at \"sea\"":"a"}"#), Some(r#"{"at \"sea\"":"b"}"#), None];
        let expected = expected.map(|text| text.map_or(serde_json::Value::Null, serde_json::Value::from));
        assert_eq!(kept, expected.map(Some), "{format}");
        assert!(world.catalog.upload(accepted.upload).await.unwrap().unwrap().ignored.is_empty());

        let world = World::with_chunks_of(2).await;
        world.apply(&PROJECT.replace("event_time:", "extra: reject\nevent_time:")).await;
        let refused = world.upload(&name, bytes(&world)).await.unwrap_err();
        assert!(refused.to_string().contains("column `Elev` is unknown"), "{refused}");
        assert!(world.catalog.uploads(None, 10).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_file_may_call_columns_as_it_likes_in_every_format() {
    let names = [
        ("origin", "Origin Airport"),
        ("observed_at", "created_at"),
        ("hour", "theHour"),
        ("temp", "Temp (°F)"),
        ("windy", "order"),
        ("day", "Day"),
    ];
    let mut project = PROJECT.to_owned();
    for (name, in_file) in names {
        let declared = |ty: &str| format!("  {name}: {{ from: \"{in_file}\", type: {ty} }}\n");
        for ty in ["string", "timestamp"] {
            project = project.replace(&format!("  {name}: {ty}\n"), &declared(ty));
        }
        project = project
            .replace(&format!("  {name}: {{ type"), &format!("  {name}: {{ from: \"{in_file}\", type"));
    }
    let renamed = |text: &str, around: (&str, &str)| {
        names.iter().fold(text.to_owned(), |text, (name, in_file)| {
            let (before, after) = around;
            text.replace(&format!("{before}{name}{after}"), &format!("{before}{in_file}{after}"))
        })
    };
    let mut rows = Vec::new();
    for format in ["csv", "jsonl", "parquet"] {
        let (world, named) = (World::new().await, World::new().await);
        let bytes = match format {
            "csv" => CSV.lines().take(5).collect::<Vec<_>>().join("\n").into_bytes(),
            "jsonl" => JSONL.as_bytes().to_vec(),
            _ => parquet(&world, &names.map(|(name, _)| name)),
        };
        let (header, lines) = CSV.split_once('\n').unwrap();
        let file = match format {
            "csv" => {
                let lines = lines.lines().take(4).collect::<Vec<_>>().join("\n");
                let header: Vec<_> = header
                    .split(',')
                    .map(|name| names.iter().find(|(ours, _)| *ours == name).unwrap().1)
                    .collect();
                format!("{}\n{lines}", header.join(",")).into_bytes()
            }
            "jsonl" => renamed(JSONL, ("\"", "\":")).into_bytes(),
            _ => parquet(&world, &names.map(|(_, in_file)| in_file)),
        };
        named.apply(&project).await;
        world.upload(&format!("weather.{format}"), bytes).await.unwrap();
        named.upload(&format!("weather.{format}"), file).await.unwrap();
        world.settle().await;
        named.settle().await;
        assert_eq!(named.digest().await, world.digest().await, "{format}");
        rows = named.rows(Table::source("weather")).await;
        assert_eq!(rows.len(), 3);
    }
    // What was exported has the declared names, and goes in again.
    let (world, mut again) = (World::new().await, String::new());
    world.apply(&project).await;
    for mut row in rows.clone() {
        row.remove("_row");
        again += &format!("{}\n", serde_json::Value::from(row));
    }
    world.upload("again.jsonl", again).await.unwrap();
    world.upload("bad.csv", "created_at,Origin Airport,Temp (°F)\n2013-01-01,JFK,warm\n").await.unwrap();
    world.settle().await;
    let values = |rows: Vec<serde_json::Map<String, serde_json::Value>>| -> Vec<_> {
        rows.into_iter().map(|row| names.map(|(name, _)| row[name].clone())).collect()
    };
    assert_eq!(values(world.rows(Table::source("weather")).await), values(rows));
    let dead = world.ingest.dead_letters("weather", 1).await.unwrap();
    assert_eq!(dead[0].reason, "`temp` (`Temp (°F)` in the file) should be float, but is `warm`");
    // Dead letters are kept by declared names, whatever files call them from now on.
    let corrected =
        project.replace("type: float, nullable: true, min: -60, max: 140", "type: string, nullable: true");
    world
        .apply(
            &corrected
                .replace("Temp (°F)", "Temperature")
                .replace("features: { temp: float }", "features: { temp: string }"),
        )
        .await;
    let mut tx = world.engine.store.begin().await.unwrap();
    world.engine.store.enqueue(&mut tx, ReplayJob::of("weather")).await.unwrap();
    tx.commit().await.unwrap();
    world.settle().await;
    assert!(world.ingest.dead_letters("weather", 1).await.unwrap().is_empty());
    assert!(world.rows(Table::source("weather")).await.iter().any(|row| row["temp"] == "warm"));
}

#[tokio::test]
async fn chunks_of_any_size_give_the_same_source() {
    let mut lines = CSV.to_owned();
    for hour in 0..40 {
        let _ = writeln!(lines, "JFK,2013-02-01 00:{hour:02}:00,{hour},{hour},,");
    }
    let mut seen = Vec::new();
    for chunk_rows in [1000, 7, 1] {
        let world = World::with_chunks_of(chunk_rows).await;
        let accepted = world.upload("weather.csv", &lines).await.unwrap();
        world.settle().await;
        let upload = world.catalog.upload(accepted.upload).await.unwrap().unwrap();
        assert_eq!(upload.chunks, upload.chunks_done);
        assert_eq!(upload.chunks, i64::try_from(48_u64.div_ceil(chunk_rows)).unwrap());
        assert!(upload.naive_timestamps);
        seen.push(world.digest().await);
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], seen[2]);
}

#[tokio::test]
async fn the_same_file_is_one_ingest_unless_forced() {
    let world = World::new().await;
    let first = world.upload("weather.csv", CSV).await.unwrap();
    let again = world.upload("renamed.csv", CSV).await.unwrap();
    assert!(again.duplicate && again.upload == first.upload && again.run == first.run);
    world.settle().await;
    let forced = world.claim("weather.csv", CSV, true).await.unwrap();
    assert!(!forced.duplicate && forced.upload != first.upload);
    world.settle().await;
    assert_eq!(world.rows(Table::source("weather")).await.len(), 8);
    assert_eq!(world.catalog.uploads(Some("weather"), 10).await.unwrap()[0].repeat_of, Some(first.upload));
    assert!(world.upload("weather.csv", CSV).await.unwrap().duplicate);
}

#[tokio::test]
async fn a_file_with_other_columns_is_refused_whole() {
    let world = World::new().await;
    let refused = world.upload("weather.csv", "origin,observed,temp\n").await.unwrap_err();
    assert_eq!(refused.fault().unwrap().code.unwrap().to_string(), "TM0501");
    let unknown = world.upload("weather.txt", "x").await.unwrap_err();
    assert_eq!(unknown.fault().unwrap().code.unwrap().to_string(), "TM0503");
    assert!(world.catalog.uploads(None, 10).await.unwrap().is_empty());
    assert!(world.blobs.list("uploads/").await.unwrap().is_empty());
}

/// Whoever sends a file that fits badly is told what to declare, and nothing of the file is kept.
#[tokio::test]
async fn a_file_that_fits_badly_is_refused_with_the_yaml_that_makes_it_fit() {
    let world = World::new().await;
    let bytes = "origin;observed_at;temp\nJFK;2013-01-01;1,5\n";
    let refused = world.upload("office.csv", bytes).await.unwrap_err();
    let fault = refused.fault().unwrap();
    assert_eq!(fault.code.unwrap().to_string(), "TM0501");
    let hint = fault.hint.unwrap();
    let yaml = hint.strip_prefix("declare `").unwrap().split_once("` of source `weather`").unwrap().0;
    assert!(world.blobs.list("uploads/").await.unwrap().is_empty());
    world.apply(&PROJECT.replace("event_time:", &format!("{yaml}\nevent_time:"))).await;
    world.upload("office.csv", bytes).await.unwrap();
    world.settle().await;
    assert_eq!(world.rows(Table::source("weather")).await[0]["temp"], 1.5);
}

#[tokio::test]
async fn a_file_without_rows_is_an_upload_without_rows() {
    let world = World::new().await;
    let accepted = world.upload("weather.csv", "origin,observed_at\n").await.unwrap();
    world.settle().await;
    let upload = world.catalog.upload(accepted.upload).await.unwrap().unwrap();
    assert!(upload.published_at.is_some() && upload.rows == 0 && upload.chunks == 0);
}

#[tokio::test]
async fn publication_asks_for_the_views_that_read_the_source() {
    let world = World::new().await;
    world.upload("weather.csv", CSV).await.unwrap();
    world.settle().await;
    let waiting: Vec<String> =
        sqlx::query_scalar("SELECT key FROM engine.job WHERE kind = 'features.update'")
            .fetch_all(world.engine.store.pool())
            .await
            .unwrap();
    assert_eq!(waiting, ["features.update/weather_now"]);
}

/// An upload that failed half way may be retried after weeks; what it has staged by then is still there.
#[tokio::test]
async fn files_of_an_upload_are_awaited_until_it_is_published() {
    let world = World::with_chunks_of(2).await;
    world.upload("weather.csv", CSV).await.unwrap();
    assert!(world.catalog.awaited_files().await.unwrap().is_empty(), "nothing is staged yet");
    let chunks = world.jobs().into_iter().filter(|job| job.kind() == INGEST_CHUNK).collect();
    run_until_idle(&world.engine.store, chunks).await.unwrap();
    let awaited: BTreeSet<String> = world.catalog.awaited_files().await.unwrap().into_iter().collect();
    let staged = world.blobs.list("lake").await.unwrap();
    assert_eq!(staged.into_iter().map(|entry| entry.path).collect::<BTreeSet<_>>(), awaited);
    assert_eq!(world.lake.collect_garbage(Time::MAX_UTC, &awaited).await.unwrap(), 0);
    world.settle().await;
    assert_eq!(world.rows(Table::source("weather")).await.len(), 4);
    assert!(world.catalog.awaited_files().await.unwrap().is_empty());
}

/// Every other file has a bad row, so that its publication touches a table more than that of its neighbour.
#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_published_at_once_do_not_lock_each_other_out() {
    let world = World::new().await;
    for number in 0..24 {
        let temp = if number % 2 == 0 { "warm" } else { "39.5" };
        let rows = format!(
            "origin,observed_at,temp\nJFK,2013-01-01T06:00:00Z,{number}\nJFK,2013-01-01T07:00:00Z,{temp}\n"
        );
        world.upload(&format!("{number}.csv"), rows).await.unwrap();
    }
    let workers = (0..6).map(|_| {
        let (store, jobs) = (world.engine.store.clone(), world.jobs());
        tokio::spawn(async move { run_until_idle(&store, jobs).await.unwrap() })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
    let ended = "SELECT count(*) FROM attempt WHERE outcome <> 'completed'";
    let other: i64 = sqlx::query_scalar(ended).fetch_one(world.engine.store.pool()).await.unwrap();
    let uploads = world.catalog.uploads(Some("weather"), 100).await.unwrap();
    assert_eq!((uploads.iter().filter(|upload| upload.published_at.is_some()).count(), other), (24, 0));
}

#[tokio::test]
async fn dead_letters_are_tried_again_after_the_declaration_was_corrected() {
    let world = World::new().await;
    let accepted = world.upload("weather.csv", CSV).await.unwrap();
    world.settle().await;
    world
        .apply(
            &PROJECT
                .replace("max: 140", "max: 500")
                .replace("origin: string\n  obs", "origin: { type: string, nullable: true }\n  obs"),
        )
        .await;
    for left in [3, 3] {
        let mut tx = world.engine.store.begin().await.unwrap();
        world.engine.store.enqueue(&mut tx, ReplayJob::of("weather")).await.unwrap();
        tx.commit().await.unwrap();
        world.settle().await;
        assert_eq!(world.ingest.dead_letters("weather", 100).await.unwrap().len(), left);
        assert_eq!(world.rows(Table::source("weather")).await.len(), 5);
    }
    let upload = world.catalog.upload(accepted.upload).await.unwrap().unwrap();
    assert_eq!((upload.rows, upload.dead_letters), (5, 3));
    // The hot row stands where it would have stood, the other one is told anew.
    let rows = world.rows(Table::source("weather")).await;
    assert_eq!(rows[3]["temp"], 400.0);
    assert_eq!(rows[3]["created_at"], rows[0]["created_at"]);
    let reasons: Vec<_> = world
        .ingest
        .dead_letters("weather", 100)
        .await
        .unwrap()
        .into_iter()
        .map(|dead| dead.reason)
        .collect();
    assert_eq!(reasons[1], "`hour` should be int, but is `six`");
}

/// What counts is the file as it was sent, what is cut is its text.
#[tokio::test]
async fn packed_files_are_the_same_rows_and_files_of_their_own() {
    use std::io::Write as _;
    let gzip = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let plain = World::new().await;
    plain.upload("weather.csv", CSV).await.unwrap();
    plain.settle().await;
    let expected = plain.digest().await;
    for bytes in [gzip(CSV), zstd::encode_all(CSV.as_bytes(), 3).unwrap()] {
        let world = World::with_chunks_of(3).await;
        let accepted = world.upload("weather.csv", &bytes).await.unwrap();
        assert!(world.upload("weather.csv", &bytes).await.unwrap().duplicate);
        world.settle().await;
        assert_eq!(world.digest().await, expected);
        let upload = world.catalog.upload(accepted.upload).await.unwrap().unwrap();
        assert_eq!((upload.size_bytes, upload.chunks), (i64::try_from(bytes.len()).unwrap(), 3));
        assert!(!world.upload("weather.csv", CSV).await.unwrap().duplicate);
    }
    let refused = plain.upload("weather.jsonl", &gzip(JSONL)[..40]).await.unwrap_err();
    assert!(refused.to_string().contains("its gzip data is damaged or cut off"), "{refused}");
    assert_eq!(refused.fault().unwrap().code.unwrap().to_string(), "TM0503");
}

#[tokio::test]
async fn a_step_ingests_every_file_that_its_glob_names() {
    let world = World::with_chunks_of(2).await;
    let path = world.file("a.csv", CSV);
    world.file("b.jsonl.zst", zstd::encode_all(JSONL.as_bytes(), 3).unwrap());
    let args = |path: String| steps::Ingest { source: "weather".to_owned(), path };
    let job = || world.jobs().into_iter().find(|job| job.kind() == INGEST).unwrap();
    let glob = path.with_file_name("[ab].*").display().to_string();
    let outputs = run_job(&world.engine.store, job(), &args(glob.clone())).await.unwrap();
    assert_eq!((&outputs["rows"], &outputs["dead_letters"]), (&7.into(), &4.into()));
    let again = run_job(&world.engine.store, job(), &args(glob)).await.unwrap();
    assert_eq!(outputs, again);
    assert_eq!(world.rows(Table::source("weather")).await.len(), 7);
    let nothing = run_job(&world.engine.store, job(), &args("/nowhere/*.csv".to_owned())).await.unwrap_err();
    assert_eq!(nothing.to_string(), "[TM0506] no file matches `/nowhere/*.csv`");
    let elsewhere = run_job(&world.engine.store, job(), &args("ftp://b/k.csv".to_owned())).await.unwrap_err();
    insta::assert_snapshot!(elsewhere.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_ingests_objects_of_a_bucket_once() {
    let (world, bucket) = (World::new().await, tidemill_testkit::s3::bucket().await.unwrap());
    let there = Blobs::open(&BlobOptions {
        url: format!("s3://{}", bucket.name),
        endpoint: Some(bucket.endpoint.clone()),
        access_key: Some(bucket.access_key.clone()),
        secret_key: Some(bucket.secret_key.clone()),
        cache: Some(tempfile::tempdir().unwrap().keep()),
        ..BlobOptions::default()
    })
    .unwrap();
    there.put_at("in/2013/a.csv", CSV.into()).await.unwrap();
    there.put_at("in/b.jsonl", JSONL.into()).await.unwrap();
    there.put_at("in/notes.txt", "not data".into()).await.unwrap();
    let environment = [
        ("AWS_ENDPOINT_URL", bucket.endpoint),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AWS_ACCESS_KEY_ID", bucket.access_key),
        ("AWS_SECRET_ACCESS_KEY", bucket.secret_key),
        ("AWS_REGION", bucket.region),
    ];
    let environment: Vec<_> = environment.map(|(name, value)| (name.to_owned(), value)).into();
    let step = async |key: &str| {
        let args =
            steps::Ingest { source: "weather".to_owned(), path: format!("s3://{}/{key}", bucket.name) };
        let job = jobs::StepJob::new(world.ingest.clone()).under(environment.clone());
        run_job(&world.engine.store, JobEntry::new(job), &args).await
    };
    let outputs = step("in/**/*.[cj]s*").await.unwrap();
    assert_eq!((&outputs["rows"], &outputs["dead_letters"]), (&7.into(), &4.into()));
    assert_eq!(step("in/**/*.[cj]s*").await.unwrap(), outputs);
    assert_eq!(step("in/b.jsonl").await.unwrap()["uploads"][0], outputs["uploads"][1]);
    assert_eq!(world.rows(Table::source("weather")).await.len(), 7);
    let told = |error: tidemill_core::Fault| error.to_string().replace(&bucket.name, "BUCKET");
    insta::assert_snapshot!(told(step("in/*.csv").await.unwrap_err()), @"[TM0506] no object matches `s3://BUCKET/in/*.csv`");
    insta::assert_snapshot!(told(step("in/none.csv").await.unwrap_err()), @"[TM0506] no object matches `s3://BUCKET/in/none.csv`");
    insta::assert_snapshot!(told(step("in/notes.txt").await.unwrap_err()), @"[TM0503] `s3://BUCKET/in/notes.txt` is not a file format");
}

const NESTED: &str = "apiVersion: tidemill/v1\nkind: Project\nname: test\n---\n\
    apiVersion: tidemill/v1\nkind: Source\nname: events\ncolumns:\n  \
    user_id: { type: int, from: user.id }\n  \
    city: { type: string, nullable: true, from: user.home.city }\n  \
    user: { type: string, nullable: true }\n  \
    dotted: { type: int, nullable: true, from: a.b }\n  \
    tags: { type: \"string[]\", nullable: true, from: page.tags }\n  \
    at: timestamp\nevent_time: at\nextra: keep\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_column_of_json_is_found_by_its_path() {
    let world = World::new().await;
    world.apply(NESTED).await;
    let at = "\"at\": \"2024-05-02T10:00:00Z\"";
    let lines = [
        r#"{"user": {"id": 336432622316028723, "home": {"city": "Oslo"}}, "a.b": 1, "a": {"b": 2}, "page": {"tags": ["x", "y"]}, AT}"#,
        // A path that ends early is null, and what is read by a path is nothing beyond the columns.
        r#"{"user": {"id": 2, "home": null, "name": "n"}, "a": {"b": 2}, "page": {}, "other": 5, AT}"#,
        r#"{"user": {"home": {"city": "Oslo"}}, AT}"#,
        r#"{"user": [{"id": 4}], AT}"#,
        r#"{"user": {"id": 5, "home": "Oslo"}, AT}"#,
        r#"{"user": {"id": 6}, "page": {"tags": ["x", 1]}, AT}"#,
    ];
    let text = lines.map(|line| line.replace("AT", at)).join("\n");
    world.send("events", "events.jsonl", text, false).await.unwrap();
    world.settle().await;
    let rows = world.rows(Table::source("events")).await;
    let told: Vec<_> = rows
        .iter()
        .map(|row| ["user_id", "city", "dotted", "tags", "extra"].map(|name| row[name].clone()))
        .collect();
    assert_eq!(
        serde_json::json!(told),
        serde_json::json!([
            [336_432_622_316_028_723_i64, "Oslo", 1, ["x", "y"], null],
            [2, null, 2, null, "{\"other\":5}"],
        ])
    );
    // The object itself may be a column, too.
    assert_eq!(rows[1]["user"], "{\"id\":2,\"home\":null,\"name\":\"n\"}");
    let dead = world.ingest.dead_letters("events", 10).await.unwrap();
    let reasons: Vec<_> = dead.iter().map(|letter| (row_of(letter), letter.reason.as_str())).collect();
    assert_eq!(
        reasons,
        [
            (3, "`user_id` (`user.id` in the file) is null"),
            (
                4,
                "`user_id` (`user.id` in the file) can't be read: `user` is a list, and not an object with a key `id`"
            ),
            (
                5,
                "`city` (`user.home.city` in the file) can't be read: `home` is a single value, and not an object with a key `city`"
            ),
            (6, "`tags` (`page.tags` in the file) should be string[], but is `[\"x\",1]`"),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_an_object_within_a_line_holds_is_told_with_its_path() {
    let world = World::new().await;
    world.apply(&NESTED.replace("user_id: { type: int, from: user.id }", "user_id: int")).await;
    let line = r#"{"user": {"id": 7}, "at": "2024-05-02T10:00:00Z"}"#;
    let error = world.send("events", "events.jsonl", line, false).await.unwrap_err();
    let told = error.fault().unwrap().to_string();
    assert!(
        told.contains("column `user_id` is missing")
            && told.contains("`user.id` is there: declare `user_id: { from: user.id, type: int }`"),
        "{told}"
    );
}
