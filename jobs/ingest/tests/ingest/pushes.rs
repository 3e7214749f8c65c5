//! Rows in one call: durable, once for a key, judged like those of a file.

use std::collections::BTreeSet;

use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::{Value, json};
use tidemill_ingest::{Error, Push, Pushed};
use tidemill_offline::Table;

use crate::world::{World, row_of};

impl World {
    async fn push(&self, rows: &str, key: &str) -> Result<Pushed, Error> {
        let push = Push { source: "weather".to_owned(), rows: rows.to_owned().into(), key: key.to_owned() };
        self.ingest.push(&push).await
    }
}

fn row(origin: &str, temp: &Value) -> Value {
    json!({ "origin": origin, "observed_at": "2013-01-01T06:00:00Z", "temp": temp })
}

#[tokio::test]
async fn a_call_with_its_key_is_one_upload_and_the_same_rows_under_another_key_are_others() {
    let world = World::new().await;
    let rows = json!([row("JFK", &json!(1.5)), row("LGA", &json!(2))]).to_string();
    let first = world.push(&rows, "monday").await.unwrap();
    let again = world.push(&rows, "monday").await.unwrap();
    assert_eq!((first.rows, first.accepted.duplicate, again.accepted.duplicate), (2, false, true));
    assert_eq!((first.accepted.upload, first.accepted.run), (again.accepted.upload, again.accepted.run));
    let other = world.push(&rows, "tuesday").await.unwrap();
    assert_ne!(other.accepted.upload, first.accepted.upload);
    world.settle().await;
    // Also when all is done.
    assert!(world.push(&rows, "monday").await.unwrap().accepted.duplicate);
    world.settle().await;
    assert_eq!(world.rows(Table::source("weather")).await.len(), 4);
    // A file with the same bytes as a push is a file.
    let lines = format!("{}\n{}\n", row("JFK", &json!(1.5)), row("LGA", &json!(2)));
    assert!(!world.upload("weather.jsonl", lines).await.unwrap().duplicate);

    let refused = world.push(&json!([row("EWR", &json!(3))]).to_string(), "monday").await.unwrap_err();
    let fault = refused.fault().unwrap();
    assert_eq!(fault.code.unwrap().to_string(), "TM0118");
    assert!(fault.message.contains("`monday`"), "{fault}");
}

#[tokio::test]
async fn rows_without_a_column_are_told_as_rows() {
    let world = World::new().await;
    let refused = world.push(&json!([{ "origin": "JFK", "temp": 1.5 }]).to_string(), "k").await.unwrap_err();
    let fault = refused.fault().unwrap();
    insta::assert_snapshot!(format!(
        "{fault}\n{}\n{}",
        fault.detail.as_deref().unwrap(),
        fault.hint.as_deref().unwrap()
    ));
}

#[tokio::test]
async fn a_bad_row_is_a_dead_letter_and_the_others_are_in_the_lake() {
    let world = World::new().await;
    let rows = format!("{}\n{{\"origin\"\n{}\n", row("JFK", &json!(1.5)), row("LGA", &json!("warm")));
    world.push(&rows, "k").await.unwrap();
    world.settle().await;
    let dead = world.ingest.dead_letters("weather", 10).await.unwrap();
    assert_eq!(dead.iter().map(row_of).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(dead[1].column.as_deref(), Some("temp"));
    assert_eq!(world.rows(Table::source("weather")).await.len(), 1);
}

#[tokio::test]
async fn what_can_not_be_taken_is_told_why_and_leaves_nothing() {
    let world = World::new().await;
    let many = "{\"origin\": \"JFK\"}\n".repeat(10_001);
    let long = format!("[{}]", row(&"x".repeat(1 << 20), &json!(1)));
    for (rows, key, code) in [
        ("", "k", "TM0507"),
        (" [] ", "k", "TM0507"),
        ("[{\"origin\": 1}", "k", "TM0507"),
        (many.as_str(), "k", "TM0504"),
        (long.as_str(), "k", "TM0504"),
        ("[{\"place\": \"JFK\"}]", "k", "TM0501"),
        ("[{\"origin\": \"JFK\"}]", "", "TM0118"),
    ] {
        let fault = world.push(rows, key).await.unwrap_err().fault().unwrap();
        assert_eq!(fault.code.unwrap().to_string(), code, "{fault}");
    }
    assert!(world.catalog.uploads(None, 10).await.unwrap().is_empty());
}

/// Calls in any order, each as often as one likes: the rows are those of the distinct keys, once each.
#[test]
fn whatever_is_repeated_the_rows_are_those_of_the_keys() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let calls = prop::collection::vec((0_u8..4, any::<bool>()), 1..12);
    let mut runner = TestRunner::new(ProptestConfig { cases: 6, ..ProptestConfig::default() });
    let law = |calls: Vec<(u8, bool)>| {
        runtime.block_on(async {
            let world = World::new().await;
            for (key, settled) in &calls {
                let rows: Vec<Value> = (0..=*key).map(|n| row(&format!("{key}-{n}"), &json!(n))).collect();
                world.push(&json!(rows).to_string(), &key.to_string()).await.unwrap();
                if *settled {
                    world.settle().await;
                }
            }
            world.settle().await;
            let keys: BTreeSet<u8> = calls.iter().map(|(key, _)| *key).collect();
            let mut expected: Vec<String> =
                keys.iter().flat_map(|key| (0..=*key).map(move |n| format!("{key}-{n}"))).collect();
            let rows = world.rows(Table::source("weather")).await;
            let mut got: Vec<String> =
                rows.iter().map(|row| row["origin"].as_str().unwrap().to_owned()).collect();
            expected.sort();
            got.sort();
            prop_assert_eq!(got, expected);
            Ok(())
        })
    };
    runner.run(&calls, law).unwrap();
}
