//! What was answered is logged as it was, exactly once, and never costs an answer.

use std::sync::Arc;

use serde_json::{Map, Value as Json, json};
use tidemill_rows::{json_rows, parquet, prediction_log::SEGMENTS};
use tidemill_spec::PredictionLog;

use crate::{
    entities, with_model, world,
    world::{World, soon},
};

/// Rows of all segments that are on the object store, in the order of their answers.
async fn shipped(world: &World) -> Vec<Map<String, Json>> {
    let mut rows = Vec::new();
    for segment in world.blobs.list(SEGMENTS).await.unwrap() {
        let bytes = world.blobs.get_at(&segment.path).await.unwrap();
        rows.extend(json_rows(&parquet::read(bytes).unwrap()).unwrap());
    }
    rows.sort_by_key(|row| row["_id"].as_str().unwrap().to_owned());
    rows
}

async fn wait_for(world: &World, rows: usize) -> Vec<Map<String, Json>> {
    soon(async || shipped(world).await.len() >= rows).await;
    shipped(world).await
}

#[tokio::test]
async fn every_entity_of_every_answer_is_logged_with_what_the_model_saw() {
    let world = with_model(&["lightgbm"]).await;
    let two = json!([{"carrier": "UA", "flight": 1}, {"carrier": "ZZ", "flight": 7}]);
    let (status, reply) = world.rest("late", json!({"entities": two, "alias": "champion"})).await;
    assert_eq!(status, 200, "{reply}");
    let rows = wait_for(&world, 2).await;
    assert_eq!(rows.len(), 2);
    for (row, told) in rows.iter().zip(reply["predictions"].as_array().unwrap()) {
        assert_eq!(row["_id"], told["prediction_id"]);
        assert_eq!(row["late_probability"], told["outputs"]["late_probability"]);
        assert_eq!(
            (&row["_version"], &row["_asked_as"], &row["_code"]),
            (&json!(1), &json!("champion"), &Json::Null)
        );
        assert_eq!((&row["valid_at"], &row["_defaulted"]), (&json!(world::NOW), &told["defaulted"]));
        assert_eq!(row["_request"], rows[0]["_request"]);
        assert!(row["_latency_us"].as_i64().unwrap() > 0);
        let views: Vec<Json> = serde_json::from_str(row["_views"].as_str().unwrap()).unwrap();
        let status = |views: &[Json]| views.iter().map(|view| view["status"].clone()).collect::<Vec<_>>();
        assert_eq!(status(&views), status(told["views"].as_array().unwrap()));
    }
    let seen = ["carrier", "flight", "hour", "distance"];
    assert_eq!(seen.map(|name| rows[0][name].clone()), [json!("UA"), json!(1), json!(9), json!(250.0)]);
    assert_eq!(seen.map(|name| rows[1][name].clone()), [json!("ZZ"), json!(7), Json::Null, Json::Null]);
    world.stop().await;
}

#[tokio::test]
async fn what_failed_is_logged_with_its_code() {
    let world = with_model(&["lightgbm"]).await;
    let wrong = json!([{"carrier": "UA", "flight": "x"}]);
    assert_eq!(world.rest("late", json!({"entities": wrong})).await.0, 400);
    assert_eq!(world.rest("late", json!({"entities": entities(), "version": 9})).await.0, 404);
    // Nothing is kept of a model that there isn't: callers could make up tables.
    assert_eq!(world.rest("early", json!({"entities": entities()})).await.0, 404);
    let rows = wait_for(&world, 2).await;
    let told: Vec<_> = rows
        .iter()
        .map(|row| ["_code", "_version", "carrier", "flight"].map(|name| row[name].clone()))
        .collect();
    assert_eq!(
        told,
        [
            [json!("TM0833"), json!(1), json!("UA"), Json::Null],
            [json!("TM0831"), Json::Null, json!("UA"), json!(1)],
        ]
    );
    world.stop().await;
}

#[tokio::test]
async fn a_model_says_what_is_masked_and_that_nothing_is_logged() {
    let mut world = world().await;
    world.add("late", 1, &["lightgbm"]).await;
    world.add("quiet", 1, &["lightgbm"]).await;
    let mask = vec!["distance".to_owned(), "late_probability".to_owned()];
    world.live.models["late"].log =
        Arc::new(PredictionLog { mask: mask.clone(), ..PredictionLog::default() });
    world.live.models["quiet"].log = Arc::new(PredictionLog::off());
    world.promote("quiet", 1).await;
    world.promote("late", 1).await;
    world.ready().await;
    for model in ["quiet", "late"] {
        let (status, reply) = world.rest(model, json!({"entities": entities()})).await;
        assert_eq!(status, 200, "{reply}");
    }
    let rows = wait_for(&world, 1).await;
    assert_eq!(rows.len(), 1);
    let seen = ["hour", "distance", "late_probability", "_masked"].map(|name| rows[0][name].clone());
    assert_eq!(seen, [json!(9), Json::Null, Json::Null, json!(mask)]);
    assert!(world.blobs.list(SEGMENTS).await.unwrap()[0].path.starts_with("prediction-log/late/"));
    world.stop().await;
}

#[tokio::test]
async fn an_object_store_that_is_away_delays_the_log_alone_and_a_restart_ships_what_is_left() {
    let mut world = with_model(&["lightgbm"]).await;
    // A file where the folder of segments should be: nothing can be put there.
    world.blobs.put_at(SEGMENTS, "in the way".into()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(world.rest("late", json!({"entities": entities()})).await.0, 200);
    }
    let stuck = "prediction log: 0 MiB wait to be shipped";
    soon(async || world.readyz().await.1.contains(stuck)).await;
    assert_eq!(world.readyz().await.0, 200);
    world.restart().await;
    world.ready().await;
    soon(async || world.readyz().await.1.contains(stuck)).await;
    assert_eq!(world.rest("late", json!({"entities": entities()})).await.0, 200);
    world.blobs.delete_at(SEGMENTS).await.unwrap();
    assert_eq!(wait_for(&world, 4).await.len(), 4);
    soon(async || !world.readyz().await.1.contains(stuck)).await;
    world.stop().await;
}

#[tokio::test]
async fn a_role_that_ends_ships_what_it_has_answered() {
    let mut world = with_model(&["lightgbm"]).await;
    for _ in 0..5 {
        assert_eq!(world.rest("late", json!({"entities": entities()})).await.0, 200);
    }
    world.restart().await;
    assert_eq!(shipped(&world).await.len(), 5);
    world.stop().await;
}
