//! The role against a real Redis, real models and real callers.
#![expect(clippy::unwrap_used, reason = "a failed set-up is a failed test")]

mod changes;
mod computed;
mod features;
mod log;
mod oip;
mod rollouts;
mod world;

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::join_all;
use prost_types::{Struct, Value as Wire, value::Kind};
use serde_json::{Value as Json, json};
use tidemill_proto::{
    Reason,
    serving::v1::{PredictRequest, output},
};
use tidemill_spec::{Hydration, Type};
use tidemill_testkit::redis;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use world::{World, plane, soon, string};

fn entities() -> Json {
    json!([{"carrier": "UA", "flight": 1}])
}

fn request(model: &str, carrier: &str, flight: f64) -> PredictRequest {
    let wire = |kind| Wire { kind: Some(kind) };
    let fields = [
        ("carrier".to_owned(), wire(Kind::StringValue(carrier.to_owned()))),
        ("flight".to_owned(), wire(Kind::NumberValue(flight))),
    ];
    let entity = Struct { fields: fields.into() };
    PredictRequest { model: model.to_owned(), entities: vec![entity], ..PredictRequest::default() }
}

async fn world() -> World {
    let world = redis::prefix().await.unwrap();
    World::start(&world.url, &world.prefix).await
}

async fn with_model(kind: &[&str]) -> World {
    let mut world = world().await;
    world.add("late", 1, kind).await;
    world.promote("late", 1).await;
    world.ready().await;
    world
}

#[tokio::test]
async fn both_doors_give_the_same_answer() {
    let world = with_model(&["lightgbm"]).await;
    let body = json!({"entities": entities(), "want_features": true});
    let (status, reply) = world.rest("late", body).await;
    assert_eq!(status, 200, "{reply}");
    assert_eq!((&reply["model"], &reply["version"]), (&json!("late"), &json!(1)));
    let told = &reply["predictions"][0];
    assert!(told["prediction_id"].as_str().unwrap().starts_with("prd_"));
    assert_eq!(told["features"], json!({"carrier": "UA", "hour": 9, "distance": 250.0}));
    assert_eq!(told["defaulted"], json!([]));
    let views = json!([
        {"view": "schedule", "version": 1, "valid_at": "2013-05-25T04:00:00Z", "age_seconds": 604_800.0, "status": "fresh"},
        {"view": "plane", "version": 1, "valid_at": "2013-06-01T03:00:00Z", "age_seconds": 3600.0, "status": "stale"},
    ]);
    assert_eq!(told["views"], views);

    let wire = world.predictor().await.predict(request("late", "UA", 1.0)).await.unwrap().into_inner();
    let Some(Kind::NumberValue(probability)) =
        wire.predictions[0].outputs.as_ref().unwrap().fields["late_probability"].kind
    else {
        panic!("{wire:?}")
    };
    assert_eq!(json!(probability), told["outputs"]["late_probability"]);
    let typed = &wire.predictions[0].typed_outputs["late_probability"];
    assert_eq!(typed.value, Some(output::Value::FloatValue(probability)));
    assert_eq!((wire.version, wire.predictions[0].views[1].status.as_str()), (1, "stale"));
    world.stop().await;
}

#[tokio::test]
async fn classes_and_vectors_are_typed_through_both_doors() {
    let mut world = world().await;
    world.add("iris", 1, &["flower"]).await;
    let measures = [("sepal_length", 5.1), ("sepal_width", 3.5), ("petal_length", 1.4), ("petal_width", 0.2)];
    world.change("iris", 1, |version| {
        version.request = measures.map(|(name, _)| (name.to_owned(), Type::Float)).into();
        version.hydration = Hydration::default();
    });
    world.promote("iris", 1).await;
    world.ready().await;

    let given: serde_json::Map<String, Json> =
        measures.map(|(name, value)| (name.to_owned(), json!(value))).into_iter().collect();
    let (status, reply) = world.rest("iris", json!({"entities": entities(), "request": [given]})).await;
    assert_eq!(status, 200, "{reply}");
    let told = &reply["predictions"][0]["outputs"];
    assert_eq!((&told["species"]["class"], &told["size"]), (&json!("setosa"), &json!("small")));
    let probabilities = told["species"]["probabilities"].as_object().unwrap();
    assert_eq!(probabilities.keys().collect::<Vec<_>>(), ["setosa", "versicolor", "virginica"]);
    assert!(probabilities["setosa"].as_f64().unwrap() > 0.9);
    assert_eq!(told["place"].as_array().unwrap().len(), 2);

    let wire = |number| Wire { kind: Some(Kind::NumberValue(number)) };
    let given = Struct { fields: measures.map(|(name, value)| (name.to_owned(), wire(value))).into() };
    let asked = PredictRequest { request: vec![given], ..request("iris", "UA", 1.0) };
    let reply = world.predictor().await.predict(asked).await.unwrap().into_inner();
    let typed = &reply.predictions[0].typed_outputs;
    let value = |name: &str| typed[name].value.as_ref();
    let Some(output::Value::ClassValue(species)) = value("species") else { panic!("{typed:?}") };
    assert_eq!(
        (species.label.as_str(), json!(species.probabilities["setosa"])),
        ("setosa", probabilities["setosa"].clone())
    );
    let Some(output::Value::VectorValue(place)) = value("place") else { panic!("{typed:?}") };
    assert_eq!(json!(place.values), told["place"]);
    assert_eq!(value("size"), Some(&output::Value::StringValue("small".to_owned())));
    // The untyped form says the same.
    let Some(Kind::StructValue(species)) =
        &reply.predictions[0].outputs.as_ref().unwrap().fields["species"].kind
    else {
        panic!("{reply:?}")
    };
    assert_eq!(species.fields["class"].kind, Some(Kind::StringValue("setosa".to_owned())));
    world.stop().await;
}

#[tokio::test]
async fn an_unknown_entity_is_absent_and_its_features_null() {
    let mut world = with_model(&["lightgbm"]).await;
    let body = json!({"entities": [{"carrier": "ZZ", "flight": 7}], "want_features": true});
    let (status, reply) = world.rest("late", body.clone()).await;
    assert_eq!(status, 200, "{reply}");
    let told = &reply["predictions"][0];
    assert_eq!(told["defaulted"], json!(["hour", "distance"]));
    assert_eq!(told["features"], json!({"carrier": "ZZ", "hour": null, "distance": null}));
    let statuses: Vec<&Json> = told["views"].as_array().unwrap().iter().map(|view| &view["status"]).collect();
    assert_eq!(statuses, ["absent", "absent"]);

    world.change("late", 1, |version| version.fail_on_missing = true);
    world.publish().await;
    soon(async || world.rest("late", body.clone()).await.0 != 200).await;
    let (status, reply) = world.rest("late", body.clone()).await;
    assert_eq!((status, &reply["error"]["code"]), (422, &json!("TM0835")));
    assert_eq!(reply["error"]["message"], "entity 0: no value for hour, distance");

    // Among others it costs itself alone, at both doors.
    let mut among = vec![entities()[0].clone(); 49];
    among.insert(30, json!({"carrier": "ZZ", "flight": 7}));
    let (status, reply) = world.rest("late", json!({ "entities": among })).await;
    assert_eq!(status, 200, "{reply}");
    let predictions = reply["predictions"].as_array().unwrap();
    let without: Vec<usize> = (0..50).filter(|entity| predictions[*entity]["outputs"].is_null()).collect();
    assert_eq!((predictions.len(), without), (50, vec![30]));
    assert_eq!(predictions[30]["error"]["code"], "TM0835");
    assert_eq!(predictions[30]["error"]["message"], "entity 30: no value for hour, distance");
    assert_eq!(predictions[0]["outputs"], predictions[49]["outputs"]);
    assert!(predictions[0]["error"].is_null());
    let mut asked = request("late", "UA", 1.0);
    asked.entities.extend(request("late", "ZZ", 7.0).entities);
    let reply = world.predictor().await.predict(asked).await.unwrap().into_inner();
    let told: Vec<Option<&str>> =
        reply.predictions.iter().map(|one| one.error.as_ref().map(|error| error.code.as_str())).collect();
    assert_eq!((told, reply.predictions[1].outputs.is_none()), (vec![None, Some("TM0835")], true));
}

#[tokio::test]
async fn each_mistake_is_told() {
    let world = with_model(&["constant", "0.5"]).await;
    let takes = "`late` takes carrier: string, flight: int";
    let cases = [
        (
            "early",
            json!({"entities": entities()}),
            404,
            "TM0830",
            "unknown model `early`; known: late".to_owned(),
        ),
        (
            "late",
            json!({"entities": entities(), "version": 9}),
            404,
            "TM0831",
            "model `late` has no live version 9; known: 1".to_owned(),
        ),
        (
            "late",
            json!({"entities": entities(), "alias": "x"}),
            404,
            "TM0831",
            "model `late` has no alias `x`; known: champion".to_owned(),
        ),
        (
            "late",
            json!({"entities": [{"carrier": "UA"}]}),
            400,
            "TM0832",
            format!("entity 0: `flight` is missing; {takes}"),
        ),
        (
            "late",
            json!({"entities": [{"carrier": "UA", "flight": 1, "x": 1}]}),
            400,
            "TM0832",
            format!("entity 0: unknown column `x`; {takes}"),
        ),
        (
            "late",
            json!({"entities": [{"carrier": "UA", "flight": "one"}]}),
            400,
            "TM0833",
            "entity 0: `flight`: expected int, got \"one\"".to_owned(),
        ),
        (
            "late",
            json!({"entities": []}),
            400,
            "TM0834",
            "`entities` is empty; give the key columns of at least one".to_owned(),
        ),
        (
            "late",
            json!({"entities": entities(), "request": [{"hour": 1}]}),
            400,
            "TM0832",
            "entity 0: unknown column `hour`; `late` takes ".to_owned(),
        ),
        (
            "late",
            json!({"entities": entities(), "version": 1, "alias": "champion"}),
            400,
            "TM0834",
            "give `version` or `alias`, not both".to_owned(),
        ),
    ];
    for (model, body, status, code, message) in cases {
        let (got, reply) = world.rest(model, body.clone()).await;
        assert_eq!((got, &reply["error"]["code"]), (status, &json!(code)), "{body}: {reply}");
        assert_eq!(reply["error"]["message"], message);
        assert!(reply["error"]["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{reply}");
    }
    let mut client = world.predictor().await;
    let error = client.predict(request("early", "UA", 1.0)).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    assert_eq!(error.message(), "[TM0830] unknown model `early`; known: late\nhint: tidemill models list");
    let reason = Reason {
        code: "TM0830".to_owned(),
        message: "unknown model `early`; known: late".to_owned(),
        detail: None,
        hint: Some("tidemill models list".to_owned()),
    };
    assert_eq!(Reason::of(&error), Some(reason));
    let error = client.predict(request("late", "UA", 1.5)).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert_eq!(Reason::of(&error).unwrap().message, "entity 0: `flight`: expected int, got 1.5");
}

#[tokio::test]
async fn a_caller_s_deadline_is_kept_and_told() {
    let world = with_model(&["fragile"]).await;
    // `fragile` takes two seconds over this distance.
    world.put(&plane(), vec![string("N1")], vec![tidemill_spec::Value::Float(999.0)], world::NOW).await;
    let mut hurried = tonic::Request::new(request("late", "UA", 1.0));
    hurried.set_timeout(Duration::from_millis(500));
    let error = world.predictor().await.predict(hurried).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded, "{error}");
    assert_eq!(Reason::of(&error).unwrap().code, "TM0824");
    // It is counted as any other failure is.
    let metrics = world.client.get(format!("{}/metrics", world.http)).send().await.unwrap();
    let line = r#"tidemill_predict_requests_total{model="late",version="1",code="TM0824"} 1"#;
    assert!(metrics.text().await.unwrap().contains(line));
}

#[tokio::test]
async fn whatever_is_sent_to_the_http_door_gets_json_with_a_code() {
    let world = with_model(&["constant", "0.5"]).await;
    let url = |path: &str| format!("{}{path}", world.http);
    let client = &world.client;
    let predict = url("/v1/models/late:predict");
    let cases = [
        (client.get(url("/v1/nowhere")), 404, "there is no `GET /v1/nowhere`"),
        (client.get(&predict), 405, "`/v1/models/late:predict` takes POST, not GET"),
        (client.post(url("/readyz")), 405, "`/readyz` takes GET, not POST"),
        (client.post(url("/v1/models/late:explain")), 404, "there is no `POST /v1/models/late:explain`"),
        (client.post(&predict).body("{"), 400, "EOF while parsing"),
        (client.post(&predict).body(r#"{"entities": [{}], "versoin": 1}"#), 400, "unknown field `versoin`"),
        (client.post(&predict).body(vec![b' '; 3 << 20]), 413, "the body is larger than 2097152 bytes"),
        (
            client.post(&predict).body(r#"{"entities": [{"carrier": "UA", "flight": 1, "carrier": "AA"}]}"#),
            400,
            "`carrier` is there twice at line 1 column 54",
        ),
        (
            client.post(&predict).body(r#"{"entities": [{}], "request": [{"hour": 1, "hour": 2}]}"#),
            400,
            "`hour` is there twice at line 1 column 49",
        ),
    ];
    for (request, status, message) in cases {
        let reply = request.send().await.unwrap();
        let got = reply.status().as_u16();
        let body: Json = reply.json().await.unwrap();
        assert_eq!((got, &body["error"]["code"]), (status, &json!("TM0834")), "{body}");
        assert!(body["error"]["message"].as_str().unwrap().starts_with(message), "{body}");
    }
}

#[tokio::test]
async fn a_promoted_version_takes_over_without_a_failed_request() {
    let mut world = with_model(&["constant", "0.1"]).await;
    world.add("late", 2, &["constant", "0.9"]).await;
    let (done, failed) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let (first, second) = (AtomicU64::new(0), AtomicU64::new(0));
    let client = world.predictor().await;
    let load = join_all((0..8).map(|_| {
        let mut client = client.clone();
        let (done, failed, first, second) = (&done, &failed, &first, &second);
        async move {
            while !done.load(Ordering::Relaxed) {
                match client.predict(request("late", "UA", 1.0)).await {
                    Ok(reply) if reply.get_ref().version == 1 => first.fetch_add(1, Ordering::Relaxed),
                    Ok(_) => second.fetch_add(1, Ordering::Relaxed),
                    Err(error) => {
                        failed.lock().unwrap().push(error.to_string());
                        return;
                    }
                };
            }
        }
    }));
    let switch = async {
        world.promote("late", 2).await;
        soon(async || second.load(Ordering::Relaxed) >= 200).await;
        // The old version leaves the live set: its processes end, and nobody notices.
        world.live.models["late"].versions.shift_remove(&1);
        world.publish().await;
        let more = second.load(Ordering::Relaxed) + 200;
        soon(async || second.load(Ordering::Relaxed) >= more).await;
        done.store(true, Ordering::Relaxed);
    };
    tokio::join!(load, switch);
    assert_eq!(failed.into_inner().unwrap(), Vec::<String>::new());
    assert!(first.into_inner() > 0);
    let (status, _) = world.rest("late", json!({"entities": entities(), "version": 1})).await;
    assert_eq!(status, 404);
    world.stop().await;
}

#[tokio::test]
async fn a_version_that_does_not_load_takes_nothing_over() {
    let mut world = with_model(&["constant", "0.1"]).await;
    world.add("late", 2, &["constant", "0.9"]).await;
    world.change("late", 2, |version| version.artifact = "artifacts/gone".to_owned());
    world.promote("late", 2).await;
    soon(async || {
        let (status, reply) = world.rest("late", json!({"entities": entities(), "version": 2})).await;
        status == 503 && reply["error"]["message"].as_str().unwrap().contains("artifacts/gone")
    })
    .await;
    let (status, reply) = world.rest("late", json!({"entities": entities()})).await;
    assert_eq!((status, &reply["version"]), (200, &json!(1)));
    world.ready().await;
}

#[tokio::test]
async fn redis_may_go_and_come_back() {
    let mut server = redis::Server::start().unwrap();
    let mut world = World::start(&server.url(), "test").await;
    world.add("late", 1, &["constant", "0.5"]).await;
    world.promote("late", 1).await;
    world.ready().await;
    server.stop();
    let (status, reply) = world.rest("late", json!({"entities": entities()})).await;
    assert_eq!((status, &reply["error"]["code"]), (503, &json!("TM0838")), "{reply}");
    server.resume().unwrap();
    soon(async || world.rest("late", json!({"entities": entities()})).await.0 == 200).await;
}

#[tokio::test]
async fn metrics_statistics_health_and_reflection_are_there() {
    let world = with_model(&["constant", "0.5"]).await;
    world.put(&plane(), vec![string("N1")], vec![tidemill_spec::Value::Float(1.0)], world::NOW).await;
    for _ in 0..3 {
        assert_eq!(world.rest("late", json!({"entities": entities()})).await.0, 200);
    }
    assert_eq!(world.rest("late", json!({"entities": entities(), "version": 9})).await.0, 404);
    let get = async |path: &str| {
        world.client.get(format!("{}{path}", world.http)).send().await.unwrap().text().await.unwrap()
    };
    let metrics = get("/metrics").await;
    for line in [
        r#"tidemill_predictions_total{model="late",version="1"} 3"#,
        r#"tidemill_predict_requests_total{model="late",version="1",code="ok"} 3"#,
        r#"tidemill_predict_latency_seconds_bucket{le="30.0",model="late",version="1"}"#,
        r#"tidemill_models_loaded{model="late",version="1"} 1"#,
        r#"tidemill_predict_unresolved_total{code="TM0831"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
    let stats = async || serde_json::from_str::<Json>(&get("/v1/stats").await).unwrap()["items"][0].clone();
    // Requests are more: whoever waits until the model is ready asks for nobody, which is refused and counted.
    soon(async || stats().await["5m"]["entities"] == json!(3)).await;
    let told = stats().await;
    assert_eq!(
        (&told["model"], &told["version"], &told["1h"]["entities"]),
        (&json!("late"), &json!(1), &json!(3))
    );
    assert_eq!(get("/healthz").await, "ok\n");

    let service = "tidemill.serving.v1.PredictionService";
    let check = HealthCheckRequest { service: service.to_owned() };
    let mut health = HealthClient::new(world.channel().await);
    soon(async || health.check(check.clone()).await.unwrap().get_ref().status == 1).await;
    // Both versions of the protocol: grpcurl and the clients of other languages speak one or the other.
    macro_rules! reflected {
        ($pb:path) => {{
            use $pb as pb;
            let list = pb::ServerReflectionRequest {
                host: String::new(),
                message_request: Some(pb::server_reflection_request::MessageRequest::ListServices(
                    String::new(),
                )),
            };
            let channel = world.channel().await;
            let mut client = pb::server_reflection_client::ServerReflectionClient::new(channel);
            let replies = client.server_reflection_info(tokio_stream::once(list)).await.unwrap();
            let reply = replies.into_inner().message().await.unwrap().unwrap().message_response.unwrap();
            let pb::server_reflection_response::MessageResponse::ListServicesResponse(list) = reply else {
                panic!("{reply:?}")
            };
            list.service.into_iter().map(|listed| listed.name).collect::<Vec<_>>()
        }};
    }
    assert!(reflected!(tonic_reflection::pb::v1).contains(&service.to_owned()));
    assert!(reflected!(tonic_reflection::pb::v1alpha).contains(&service.to_owned()));
}

#[tokio::test]
async fn a_role_that_starts_again_is_ready_by_itself() {
    let mut world = with_model(&["constant", "0.5"]).await;
    world.restart().await;
    world.ready().await;
    assert_eq!(world.rest("late", json!({"entities": entities()})).await.0, 200);
}

/// `cargo test -p tidemill-serve --test serve -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn measure_predict() {
    let world = with_model(&["lightgbm"]).await;
    let client = world.predictor().await;
    for concurrency in [1, 8] {
        let started = Instant::now();
        let took = join_all((0..concurrency).map(|_| {
            let mut client = client.clone();
            async move {
                let mut took = Vec::new();
                for _ in 0..1000 {
                    let began = Instant::now();
                    client.predict(request("late", "UA", 1.0)).await.unwrap();
                    took.push(began.elapsed());
                }
                took
            }
        }))
        .await;
        let seconds = started.elapsed().as_secs_f64();
        let mut took: Vec<_> = took.concat();
        took.sort();
        let at = |share: usize| took[took.len() * share / 100];
        let count = u32::try_from(took.len()).unwrap();
        println!(
            "{concurrency} callers: p50 {:?} p95 {:?} p99 {:?}, {:.0} a second",
            at(50),
            at(95),
            at(99),
            f64::from(count) / seconds
        );
    }
}
