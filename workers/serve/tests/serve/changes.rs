//! Moments of change: Redis loses everything, versions come that don't load, processes die.

use std::fs;

use serde_json::{Value as Json, json};
use tidemill_spec::{Type, Value};
use tidemill_testkit::redis;

use crate::{
    entities, with_model, world,
    world::{World, plane, schedule, soon, string},
};

async fn ask(world: &World, model: &str) -> (u16, Json) {
    world.rest(model, json!({"entities": entities()})).await
}

#[tokio::test]
async fn values_that_redis_lost_are_never_taken_for_unknown_entities() {
    let server = redis::Server::start().unwrap();
    let mut world = World::start(&server.url(), "lost").await;
    world.add("late", 1, &["lightgbm"]).await;
    world.change("late", 1, |version| version.views["plane"].filled = true);
    world.written(&plane()).await;
    world.promote("late", 1).await;
    world.ready().await;
    // An entity that is unknown is answered as such.
    let (status, reply) = world.rest("late", json!({"entities": [{"carrier": "ZZ", "flight": 7}]})).await;
    assert_eq!(status, 200, "{reply}");

    let mut connection = redis::connection(&server.url()).await.unwrap();
    ::redis::cmd("FLUSHALL").query_async::<()>(&mut connection).await.unwrap();
    let (status, reply) = ask(&world, "late").await;
    assert_eq!((status, &reply["error"]["code"]), (503, &json!("TM0838")), "{reply}");
    assert!(
        reply["error"]["message"].as_str().unwrap().contains("lost the values of view `plane`"),
        "{reply}"
    );
    soon(async || world.readyz().await.0 == 503).await;
    let (_, told) = world.readyz().await;
    assert!(told.contains("late@champion (version 1): Redis has lost the values of view `plane`"), "{told}");
    assert!(told.contains("it has lost the live set"), "{told}");

    world.fill().await;
    world.written(&plane()).await;
    world.publish().await;
    soon(async || world.readyz().await == (200, "ok\n".to_owned())).await;
    assert_eq!(ask(&world, "late").await.0, 200);
}

#[tokio::test]
async fn a_value_that_cant_be_read_costs_its_own_entity_only() {
    let server = redis::Server::start().unwrap();
    let mut world = World::start(&server.url(), "spoilt").await;
    world.add("late", 1, &["constant", "0.5"]).await;
    world.promote("late", 1).await;
    world.ready().await;
    let mut connection = redis::connection(&server.url()).await.unwrap();
    let mut fields = async || {
        let keys: Vec<String> = ::redis::cmd("KEYS")
            .arg("spoilt:values:*:schedule:*")
            .query_async(&mut connection)
            .await
            .unwrap();
        let mut fields = Vec::new();
        for key in keys {
            let names: Vec<String> =
                ::redis::cmd("HKEYS").arg(&key).query_async(&mut connection).await.unwrap();
            fields.extend(names.into_iter().map(|name| (key.clone(), name)));
        }
        fields
    };
    let before = fields().await;
    let two = vec![string("UA"), Value::Int(2)];
    world.put(&schedule(), two, vec![Value::Int(9), string("N1")], world::NOW).await;
    let added: Vec<_> = fields().await.into_iter().filter(|field| !before.contains(field)).collect();
    let [(key, name)] = &added[..] else { panic!("{added:?}") };
    ::redis::cmd("HSET").arg(key).arg(name).arg("not ours").query_async::<()>(&mut connection).await.unwrap();

    let spoilt = json!({"carrier": "UA", "flight": 2});
    let (status, reply) = world
        .rest("late", json!({"entities": [entities()[0], spoilt, {"carrier": "ZZ", "flight": 7}]}))
        .await;
    assert_eq!(status, 200, "{reply}");
    let told: Vec<(bool, &Json)> = reply["predictions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["outputs"].is_object(), &one["error"]["code"]))
        .collect();
    assert_eq!(told, [(true, &Json::Null), (false, &json!("TM0838")), (true, &Json::Null)]);
    let message = reply["predictions"][1]["error"]["message"].as_str().unwrap();
    assert!(
        message.starts_with("entity 1: features could not be read: stored value of view `schedule` v1"),
        "{message}"
    );
    // What could not be read is not said to be absent.
    assert_eq!(reply["predictions"][1]["views"], json!([]));
    // Alone it fails its request.
    let (status, reply) = world.rest("late", json!({ "entities": [spoilt] })).await;
    assert_eq!((status, &reply["error"]["code"]), (503, &json!("TM0838")), "{reply}");
}

#[tokio::test]
async fn ready_says_that_redis_is_away_and_that_it_is_back() {
    let mut server = redis::Server::start().unwrap();
    let mut world = World::start(&server.url(), "away").await;
    world.add("late", 1, &["constant", "0.5"]).await;
    world.promote("late", 1).await;
    world.ready().await;
    server.stop();
    soon(async || world.readyz().await.0 == 503).await;
    assert!(world.readyz().await.1.contains("features can't be read"), "{:?}", world.readyz().await);
    server.resume().unwrap();
    soon(async || world.readyz().await.0 == 200).await;
}

#[tokio::test]
async fn a_version_with_other_keys_changes_nothing_for_the_champion() {
    let mut world = with_model(&["constant", "0.1"]).await;
    world.add("late", 2, &["constant", "0.9"]).await;
    world.change("late", 2, |version| version.keys = [("gate".to_owned(), Type::Int)].into());
    world.publish().await;
    soon(async || world.rest("late", json!({"entities": entities(), "version": 2})).await.0 == 400).await;
    let (status, reply) = ask(&world, "late").await;
    assert_eq!((status, &reply["version"]), (200, &json!(1)), "{reply}");
}

#[tokio::test]
async fn a_model_that_can_t_be_loaded_is_named_and_takes_no_other_out_of_the_balancer() {
    let mut world = with_model(&["constant", "0.1"]).await;
    world.add("shaped", 1, &["constant", "0.2"]).await;
    world.change("shaped", 1, |version| version.artifact = "artifacts/gone".to_owned());
    world.promote("shaped", 1).await;
    let reason = "shaped@champion (version 1)";
    soon(async || world.readyz().await.1.contains("artifacts/gone")).await;
    let (status, told) = world.readyz().await;
    assert!(status == 200 && told.starts_with("ok\n") && told.contains(reason), "{status} {told}");
    assert_eq!(ask(&world, "late").await.0, 200);
    let (status, reply) = ask(&world, "shaped").await;
    assert_eq!((status, &reply["error"]["code"]), (503, &json!("TM0836")), "{reply}");
    let ready = async |model: &str| {
        let reply = world.client.get(format!("{}/v2/models/{model}/ready", world.http)).send().await.unwrap();
        (reply.status().as_u16(), reply.json::<Json>().await.unwrap())
    };
    assert_eq!(ready("late").await, (200, json!({"name": "late", "ready": true})));
    let (status, told) = ready("shaped").await;
    assert!(status == 503 && told["reason"].as_str().unwrap().contains("artifacts/gone"), "{told}");
    assert_eq!(ready("nothing").await.0, 404);
    let replicas = world.online.replicas().await.unwrap();
    let failed = &replicas[0].models["shaped"][&1];
    assert!(
        matches!(failed, tidemill_online::Served::Failed(reason) if reason.contains("artifacts/gone")),
        "{failed:?}"
    );
}

#[tokio::test]
async fn a_model_is_loaded_with_the_project_s_code_of_its_registration() {
    let mut world = world().await;
    let code = |hours: &str| json!({"shape.py": format!("def hours(frame):\n    return frame[[\"hour\"]].fillna(0){hours}\n")});
    world.add("shaped", 1, &["project"]).await;
    let pinned = world.code(&code("")).await;
    world.change("shaped", 1, |version| version.code = Some(pinned));
    // The project goes on; the version stays with what it was registered with.
    world.code(&code(" * 2")).await;
    world.promote("shaped", 1).await;
    world.ready().await;
    let (status, reply) = ask(&world, "shaped").await;
    assert_eq!(status, 200, "{reply}");
    let hour = reply["predictions"][0]["outputs"]["late_probability"].as_f64().unwrap() * 24.0;
    assert!((hour - 9.0).abs() < 1e-6, "{hour}");
}

#[tokio::test]
async fn a_version_that_can_t_be_served_any_more_goes_on_with_what_it_was_loaded_with() {
    let mut world = with_model(&["constant", "0.1"]).await;
    world.live.models["late"].versions.insert(1, Err("view `plane` is not declared any more".to_owned()));
    world.publish().await;
    soon(async || world.readyz().await.1.contains("is not declared any more")).await;
    assert_eq!((world.readyz().await.0, ask(&world, "late").await.0), (200, 200));
}

#[tokio::test]
async fn a_model_whose_processes_are_dead_is_not_ready_until_they_are_back() {
    let mut world = world().await;
    world.add("late", 1, &["fragile"]).await;
    world.promote("late", 1).await;
    world.ready().await;
    let folder = world.blobs.fetch_folder(&world.artifact("late", 1)).await.unwrap();
    fs::rename(folder.join("model.pkl"), folder.join("gone")).unwrap();
    world.kill_models();
    soon(async || world.readyz().await.0 == 503).await;
    assert!(world.readyz().await.1.contains("none of its processes runs"), "{:?}", world.readyz().await);
    fs::rename(folder.join("gone"), folder.join("model.pkl")).unwrap();
    soon(async || world.readyz().await.0 == 200).await;
    assert_eq!(ask(&world, "late").await.0, 200);
}

#[tokio::test]
async fn a_prediction_that_is_no_number_is_an_error_of_its_own_request() {
    let mut world = with_model(&["fragile"]).await;
    world.put(&plane(), vec![string("N1")], vec![Value::Float(7.0)], world::NOW).await;
    let (status, reply) = ask(&world, "late").await;
    assert_eq!((status, &reply["error"]["code"]), (500, &json!("TM0866")), "{reply}");
    let message = reply["error"]["message"].as_str().unwrap();
    assert!(message.contains("gave NaN for `late_probability`"), "{message}");
    world.change("late", 1, |version| version.processes = 2);
    let (status, _) = world.rest("late", json!({"entities": [{"carrier": "ZZ", "flight": 7}]})).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_caller_gets_the_first_words_of_what_a_model_raised_and_the_log_has_it_whole() {
    let log = world::log();
    let world = with_model(&["fragile"]).await;
    world.put(&plane(), vec![string("N1")], vec![Value::Float(13.0)], world::NOW).await;
    let (status, reply) = ask(&world, "late").await;
    assert_eq!((status, &reply["error"]["code"]), (500, &json!("TM0701")), "{reply}");
    let message = reply["error"]["message"].as_str().unwrap();
    assert!(
        message.starts_with("model `late` version 1 failed: ValueError: thirteen is not in table.csv"),
        "{message}"
    );
    assert!(message.len() < 500 && reply["error"]["detail"].is_null(), "{reply}");
    let request = message.rsplit_once("(request ").unwrap().1.trim_end_matches(')');
    let log = log.lock().unwrap().clone();
    let line =
        log.lines().find(|line| line.contains(request)).unwrap_or_else(|| panic!("{request} in {log}"));
    assert!(line.contains("/srv/secret/table.csv") && line.contains("make_model.py"), "{line}");
    assert!(log.contains("printed: thirteen comes"), "{log}");
}

#[tokio::test]
async fn a_caller_says_over_http_how_long_it_waits() {
    let world = with_model(&["fragile"]).await;
    world.put(&plane(), vec![string("N1")], vec![Value::Float(999.0)], world::NOW).await;
    let ask = async |query: &str| {
        let url = format!("{}/v1/models/late:predict?{query}", world.http);
        let reply = world.client.post(url).json(&json!({"entities": entities()})).send().await.unwrap();
        (reply.status().as_u16(), reply.json::<Json>().await.unwrap())
    };
    let (status, reply) = ask("timeout=200ms").await;
    assert_eq!((status, &reply["error"]["code"]), (504, &json!("TM0824")), "{reply}");
    for wrong in ["timeout=soon", "time=1s", "timeout=1s&timeout=2s"] {
        assert_eq!(ask(wrong).await.0, 400, "{wrong}");
    }
    assert_eq!(ask("timeout=30s").await.0, 200);
}

#[tokio::test]
async fn what_is_nullable_in_a_request_may_be_left_out_and_nothing_else() {
    let mut world = world().await;
    for (model, nullable, fail_on_missing) in [
        ("late", Some(vec!["distance".to_owned()]), true),
        ("strict", Some(Vec::new()), false),
        // Versions of before say nothing of it.
        ("before", None, false),
    ] {
        world.add(model, 1, &["lightgbm"]).await;
        world.change(model, 1, |version| {
            version.hydration.rounds.pop();
            version.request = [("distance".to_owned(), Type::Float)].into();
            (version.nullable, version.fail_on_missing) = (nullable, fail_on_missing);
        });
        world.promote(model, 1).await;
    }
    world.ready().await;
    let body = |request: Json| json!({"entities": entities(), "request": request, "want_features": true});
    for given in [json!([]), json!([{}]), json!([{"distance": null}])] {
        for model in ["late", "before"] {
            let (status, reply) = world.rest(model, body(given.clone())).await;
            let distance = &reply["predictions"][0]["features"]["distance"];
            assert_eq!((status, distance), (200, &Json::Null), "{reply}");
        }
        let (status, reply) = world.rest("strict", body(given)).await;
        assert_eq!((status, &reply["error"]["code"]), (400, &json!("TM0832")), "{reply}");
    }
    let (status, reply) = world.rest("late", body(json!([{"distance": 250.0}]))).await;
    assert_eq!((status, &reply["predictions"][0]["features"]["distance"]), (200, &json!(250.0)), "{reply}");
}

#[tokio::test]
async fn an_address_that_other_machines_reach_is_refused_unless_told_otherwise() {
    let mut options = world::options("redis://127.0.0.1:1", "none", tempfile::tempdir().unwrap().path());
    options.http = ([0, 0, 0, 0], 0).into();
    let error = tidemill_serve::Server::bind(options.clone()).await.unwrap_err();
    assert!(error.to_string().contains("authentication is not supported yet"), "{error}");
    options.insecure = true;
    tidemill_serve::Server::bind(options).await.unwrap();
}
