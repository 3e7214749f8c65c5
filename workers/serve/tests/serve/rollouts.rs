//! Two versions behind one alias: who answers whom, what is counted of it, and what a bad candidate costs.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use futures::future::join_all;
use serde_json::{Value as Json, json};
use tidemill_online::{Arms, LiveSplit};
use tidemill_spec::Value;

use crate::{
    AtomicBool, AtomicU64, entities, world,
    world::{World, plane, soon, string},
};

const ROLLOUT: &str = "rol_1";

/// Version 1 says 0.1 and is the champion; version 2 is on trial.
async fn on_trial(candidate: &[&str], percent: u32) -> World {
    let mut world = world().await;
    world.add("late", 1, &["constant", "0.1"]).await;
    world.add("late", 2, candidate).await;
    world.live.models["late"].splits.insert("champion".to_owned(), split(0, percent));
    world.promote("late", 1).await;
    world.ready().await;
    soon(async || world.rest("late", json!({"entities": entities(), "version": 2})).await.0 != 503).await;
    world
}

fn split(step: u32, percent: u32) -> LiveSplit {
    LiveSplit { rollout: ROLLOUT.to_owned(), step, candidate: 2, percent }
}

async fn share(world: &mut World, step: u32, percent: u32) {
    world.live.models["late"].splits.insert("champion".to_owned(), split(step, percent));
    world.publish().await;
}

fn flights(count: i64) -> Json {
    (1..=count).map(|flight| json!({"carrier": "UA", "flight": flight})).collect()
}

/// The version that answered each of some flights.
async fn versions(world: &World, count: i64) -> Vec<i64> {
    let (status, reply) = world.rest("late", json!({"entities": flights(count)})).await;
    assert_eq!(status, 200, "{reply}");
    let predictions = reply["predictions"].as_array().unwrap();
    predictions
        .iter()
        .map(|one| {
            let (version, output) = (one["version"].as_i64().unwrap(), &one["outputs"]["late_probability"]);
            // Said by the version that is named.
            assert_eq!(*output, json!(if version == 1 { 0.1 } else { 0.9 }), "{one}");
            version
        })
        .collect()
}

/// What all processes wrote of a step.
async fn arms(world: &World, step: u32) -> Arms {
    Arms::over(world.online.arms(ROLLOUT, step).await.unwrap().values())
}

#[tokio::test]
async fn each_entity_has_its_version_and_keeps_it_while_the_share_grows() {
    let mut world = on_trial(&["constant", "0.9"], 10).await;
    let mut before = versions(&world, 200).await;
    assert!(before.contains(&1) && before.contains(&2));
    assert_eq!(versions(&world, 200).await, before);
    for (step, percent) in [(1, 30), (2, 70), (3, 100)] {
        share(&mut world, step, percent).await;
        soon(async || versions(&world, 200).await != before).await;
        let now = versions(&world, 200).await;
        assert!(before.iter().zip(&now).all(|(before, now)| before <= now), "{before:?} {now:?}");
        before = now;
    }
    assert!(before.iter().all(|version| *version == 2));

    // Whoever names a version gets that one, and another alias is no part of it.
    for version in [1, 2] {
        let (_, reply) = world.rest("late", json!({"entities": entities(), "version": version})).await;
        assert_eq!(
            (&reply["version"], &reply["predictions"][0]["version"]),
            (&json!(version), &json!(version))
        );
    }
    world.live.models["late"].aliases.insert("stable".to_owned(), 1);
    world.publish().await;
    let stable = json!({"entities": flights(50), "alias": "stable"});
    soon(async || world.rest("late", stable.clone()).await.0 == 200).await;
    let (_, reply) = world.rest("late", stable).await;
    assert!(reply["predictions"].as_array().unwrap().iter().all(|one| one["version"] == 1), "{reply}");
}

#[tokio::test]
async fn a_request_that_two_versions_answer_names_the_one_of_the_alias_and_limits_hold_for_the_whole() {
    let world = on_trial(&["constant", "0.9"], 50).await;
    let (_, reply) = world.rest("late", json!({"entities": flights(60)})).await;
    assert_eq!((&reply["version"], reply["predictions"].as_array().unwrap().len()), (&json!(1), 60));
    for (refused, words) in [
        (json!({"entities": []}), "`entities` is empty"),
        (json!({"entities": flights(1_001)}), "at most 1000 a request"),
        (json!({"entities": [{"carrier": "UA"}]}), "`flight` is missing"),
    ] {
        let (status, reply) = world.rest("late", refused).await;
        let message = reply["error"]["message"].as_str().unwrap();
        assert!(status == 400 && message.contains(words), "{reply}");
    }
}

#[tokio::test]
async fn what_the_candidate_can_t_answer_the_control_does() {
    let mut world = on_trial(&["fragile"], 100).await;
    // For this one the candidate raises.
    world.put(&plane(), vec![string("N1")], vec![Value::Float(13.0)], world::NOW).await;
    let (status, reply) = world.rest("late", json!({"entities": entities()})).await;
    assert_eq!((status, &reply["version"]), (200, &json!(1)), "{reply}");
    soon(async || arms(&world, 0).await.candidate.failed == 1).await;
    let told = arms(&world, 0).await;
    assert_eq!((told.candidate.errors, told.candidate.fell_back), (1, 1));
    // Who came to the control that way is no witness for it.
    assert_eq!(told.control.entities, 0);
    let metrics = world.client.get(format!("{}/metrics", world.http)).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains(r#"tidemill_predict_fell_back_total{model="late",version="2"} 1"#), "{metrics}");

    // One that isn't loaded costs nobody an answer either.
    world.live.models["late"]
        .splits
        .insert("champion".to_owned(), LiveSplit { candidate: 3, ..split(1, 100) });
    world.publish().await;
    soon(async || arms(&world, 1).await.candidate.fell_back > 0 || versions_of(&world).await != 1).await;
    assert_eq!(versions_of(&world).await, 1);
}

async fn versions_of(world: &World) -> i64 {
    let (status, reply) = world.rest("late", json!({"entities": entities()})).await;
    assert_eq!(status, 200, "{reply}");
    reply["predictions"][0]["version"].as_i64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_a_rollout_begins_grows_is_promoted_and_rolled_back() {
    let mut world = on_trial(&["constant", "0.9"], 10).await;
    let (done, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    let (client, url) = (world.client.clone(), format!("{}/v1/models/late:predict", world.http));
    let callers = join_all((0..4).map(|_| async {
        while !done.load(Ordering::Relaxed) {
            let reply = client.post(&url).json(&json!({"entities": flights(5)})).send().await.unwrap();
            assert_eq!(reply.status(), 200, "{}", reply.text().await.unwrap());
            asked.fetch_add(1, Ordering::Relaxed);
        }
    }));
    let changes = async {
        let asked_more = async || {
            let before = asked.load(Ordering::Relaxed);
            soon(async || asked.load(Ordering::Relaxed) > before + 20).await;
        };
        for step in 1..=4 {
            share(&mut world, step, step * 20).await;
            asked_more().await;
        }
        // Promoted: one publication moves the alias and ends the split.
        world.live.models["late"].splits.clear();
        world.promote("late", 2).await;
        soon(async || versions(&world, 20).await.iter().all(|version| *version == 2)).await;
        world.promote("late", 1).await;
        soon(async || versions(&world, 20).await.iter().all(|version| *version == 1)).await;
        asked_more().await;
        done.store(true, Ordering::Relaxed);
    };
    tokio::join!(callers, changes);
    assert!(asked.load(Ordering::Relaxed) > 100);
}

#[tokio::test]
async fn figures_are_those_of_all_processes_and_come_back_after_redis_lost_them() {
    let world = on_trial(&["constant", "0.9"], 50).await;
    let second = world.second().await;
    let url = format!("{}/v1/models/late:predict", second.http);
    let send = async |body: Json| world.client.post(&url).json(&body).send().await.unwrap().status().as_u16();
    let ask = async |flight: i64| send(json!({"entities": [{"carrier": "UA", "flight": flight}]})).await;
    // While it still loads the candidate, the control answers in its place, and such an entity is no witness.
    let loaded = async || send(json!({"entities": flights(1), "version": 2})).await == 200;
    soon(async || ask(1).await == 200 && loaded().await).await;
    // Of an entity that asks often, one counts as a witness; as requests they all do.
    for flight in 1..=40 {
        assert_eq!(ask(flight).await, 200);
        assert_eq!(
            world.rest("late", json!({"entities": [{"carrier": "UA", "flight": flight}]})).await.0,
            200
        );
    }
    let whole = async || {
        let told = arms(&world, 0).await;
        // Each process has its own witnesses.
        (told.control.entities + told.candidate.entities, told.control.requests + told.candidate.requests)
    };
    soon(async || whole().await.0 == 80 && whole().await.1 > 80).await;
    let told = arms(&world, 0).await;
    assert_eq!((told.candidate.numbers.total(), told.candidate.failed), (told.candidate.entities, 0));

    let stats = async |http: &str| -> Json {
        let reply = world.client.get(format!("{http}/v1/stats")).send().await.unwrap();
        reply.json::<Json>().await.unwrap()["items"].clone()
    };
    let requests = async |http: &str| -> BTreeMap<i64, u64> {
        let stats = stats(http).await;
        let rows = stats.as_array().unwrap().iter();
        rows.map(|row| (row["version"].as_i64().unwrap(), row["1h"]["requests"].as_u64().unwrap())).collect()
    };
    let total = told.control.requests + told.candidate.requests;
    soon(async || requests(&world.http).await.values().sum::<u64>() >= total).await;
    assert_eq!(requests(&world.http).await, requests(&second.http).await);
    let stats = stats(&second.http).await;
    for stage in ["", "/hydrate", "/model"] {
        let at = |name: &str| stats[0].pointer(&format!("/1h{stage}/{name}")).unwrap().as_f64().unwrap();
        assert!(at("p99_ms") >= at("p50_ms") && at("p50_ms") > 0.0, "{stats}");
    }

    // What Redis lost is written again as it was.
    let (before, figures) = (arms(&world, 0).await, requests(&world.http).await);
    world.lose_figures(ROLLOUT).await;
    soon(async || arms(&world, 0).await == before && requests(&world.http).await == figures).await;
    second.stop().await;
}
