//! What the publishers publish, served: control plane, worker and serving together, at moments of change.
#![expect(clippy::unwrap_used, reason = "a failed set-up is a failed test")]

mod world;

use serde_json::json;

use world::{World, soon};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_version_answers_when_its_promotion_returns() {
    let world = World::start().await;
    let page = world.run("rollout", json!({ "factor": 2 })).await;
    assert_eq!(world.answer().await, (1, 20.0));
    let step = page["step_list"].as_array().unwrap().iter().find(|step| step["name"] == "promote").unwrap();
    assert_eq!(
        (step["outputs"]["serving"].as_array().unwrap().len(), &step["outputs"]["waiting"]),
        (1, &json!([]))
    );

    world.run("train", json!({ "factor": 3 })).await;
    let (status, moved) = world.promote(2).await;
    assert_eq!((status, &moved["waiting"]), (200, &json!([])), "{moved}");
    assert_eq!(world.answer().await, (2, 30.0));

    let rollback = json!({ "alias": "champion" });
    let (status, moved) = world.post("/v1/models/spender/rollback", &rollback).await;
    assert_eq!((status, &moved["version"], &moved["waiting"]), (200, &json!(1), &json!([])), "{moved}");
    assert_eq!(world.answer().await, (1, 20.0));
    // A second rollback would have to guess; the remedy that is named works.
    let (status, error) = world.post("/v1/models/spender/rollback", &rollback).await;
    assert_eq!((status, &error["error"]["code"]), (422, &json!("TM0803")), "{error}");
    let (status, moved) =
        world.post("/v1/models/spender/rollback", &json!({ "alias": "champion", "remove": true })).await;
    assert_eq!((status, &moved["version"]), (200, &json!(null)), "{moved}");
    assert_eq!(world.predict().await.0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prediction_is_found_and_says_the_same_again() {
    let world = World::start().await;
    world.run("rollout", json!({ "factor": 2 })).await;
    let (status, reply) = world.predict().await;
    assert_eq!(status, 200, "{reply}");
    let id = reply["predictions"][0]["prediction_id"].as_str().unwrap().to_owned();
    let path = format!("/v1/predictions/{id}");
    soon(async || world.get(&path).await.0 == 200).await;
    let (_, found) = world.get(&path).await;
    assert_eq!(
        (&found["model"], &found["version"], &found["asked_as"]),
        (&json!("spender"), &json!(1), &json!("champion"))
    );
    assert_eq!(
        (&found["features"]["amount"], &found["outputs"]),
        (&json!(10.0), &reply["predictions"][0]["outputs"])
    );
    let (_, listed) = world.get("/v1/predictions?model=spender&since=1h&version=1").await;
    assert_eq!(listed["items"], json!([found]));
    assert_eq!(world.get("/v1/predictions?model=spender&errors=true").await.1["items"], json!([]));
    let (status, error) = world.get("/v1/predictions/prd_00000000000000000000000000000000").await;
    assert_eq!((status, &error["error"]["code"]), (404, &json!("TM0880")));

    // Later orders change nothing of what was known then, and a new champion nothing of who answered.
    let (status, moved) = world.post("/v1/clock", &json!({ "time": "2024-06-01T06:00:00Z" })).await;
    assert_eq!(status, 200, "{moved}");
    world.order(20).await;
    soon(async || world.amount().await == Some(20.0)).await;
    world.run("rollout", json!({ "factor": 3 })).await;
    let replay = world.replay(&id).await;
    assert_eq!((&replay["version"], &replay["same_outputs"]), (&json!(1), &json!(true)), "{replay}");
    assert_eq!(replay["same_features"], json!(true), "{replay}");
    assert_eq!(replay["outputs"][0]["now"], replay["outputs"][0]["logged"], "{replay}");
    assert_eq!((&replay["notes"], &replay["masked"]), (&json!([]), &json!([])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_version_is_taken_out_by_a_rollback() {
    let world = World::start().await;
    world.run("rollout", json!({ "factor": 2 })).await;
    let (status, moved) = world.post("/v1/models/spender/rollback", &json!({ "alias": "champion" })).await;
    assert_eq!((status, &moved["version"], &moved["waiting"]), (200, &json!(null), &json!([])), "{moved}");
    assert_eq!(world.predict().await.0, 404);
    assert_eq!(world.readyz().await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_back_by_itself_after_redis_lost_everything() {
    let world = World::start().await;
    world.run("rollout", json!({ "factor": 2 })).await;
    assert_eq!(world.answer().await, (1, 20.0));
    for _ in 0..2 {
        world.flush().await;
        // Meanwhile there is an error or the right answer, never one from features that are gone.
        soon(async || match world.predict().await {
            (200, reply) => {
                assert_eq!(reply["predictions"][0]["defaulted"], json!([]), "{reply}");
                world.readyz().await == (200, "ok\n".to_owned())
            }
            (status, reply) => {
                assert_eq!((status, &reply["error"]["code"]), (503, &json!("TM0838")), "{reply}");
                false
            }
        })
        .await;
        assert_eq!(world.answer().await, (1, 20.0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_is_served_over_the_views_it_was_trained_on_or_its_promotion_is_refused() {
    let world = World::start().await;
    world.run("rollout", json!({ "factor": 1 })).await;
    world.run("train", json!({ "factor": 2 })).await;
    world.run("train", json!({ "factor": 3 })).await;
    // The view is filled anew with other values; what was trained on the old ones keeps them, up to date.
    world.apply(|yaml| yaml.replacen("amount * 1", "amount * 100", 1)).await;
    soon(async || world.amount().await == Some(1000.0)).await;
    assert_eq!(world.answer().await, (1, 10.0));
    world.order(20).await;
    soon(async || world.answer().await == (1, 20.0)).await;

    // The newest version was never promoted: its views are kept for it all the same.
    let (status, moved) = world.promote(3).await;
    assert_eq!((status, &moved["waiting"]), (200, &json!([])), "{moved}");
    assert_eq!(world.answer().await, (3, 60.0));

    // Over the view as it is now.
    for factor in [4, 5] {
        world.run("rollout", json!({ "factor": factor })).await;
    }
    assert_eq!(world.answer().await, (5, 10_000.0));
    let (status, error) = world.promote(2).await;
    assert_eq!((status, &error["error"]["code"]), (422, &json!("TM0865")), "{error}");
    let reason =
        "it was trained on view `last_order` version 1, which has not been kept up to date since version 2";
    assert!(error["error"]["message"].as_str().unwrap().contains(reason), "{error}");
    assert_eq!((world.answer().await, world.readyz().await.0), ((5, 10_000.0), 200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registering_a_version_with_other_inputs_changes_nothing_for_the_champion() {
    let world = World::start().await;
    world.run("rollout", json!({ "factor": 2 })).await;
    world
        .apply(|yaml| {
            let model =
                yaml.replacen("runtime: sklearn\nentity: customer", "runtime: sklearn\nentity: town", 1);
            model.replacen("- last_order: [amount]", "- last_sale: [sale]", 1)
        })
        .await;
    assert_eq!(world.answer().await, (1, 20.0));
    world.run("train", json!({ "factor": 2, "column": "sale" })).await;
    let (_, page) = world.get("/v1/models/spender").await;
    assert_eq!(page["version_list"][0]["version"], 2, "{page}");
    soon(async || world.readyz().await == (200, "ok\n".to_owned())).await;
    assert_eq!(world.answer().await, (1, 20.0));
}
