//! What nothing in Redis holds: views that are computed from others, and features that a model computes on demand.

use indexmap::IndexMap;
use serde_json::{Value as Json, json};
use tidemill_online::{LiveInput, LiveView, OnlineView};
use tidemill_spec::{
    Feature, FeatureView, Hydration, HydrationRead, InputView, KeyOrigin, OnDemand, Rule, Type, Value,
    ViewInput,
};

use crate::world::{World, live_view, plane, schedule, soon};

fn feature(sql: &str, default: Option<f64>) -> Feature {
    Feature { ty: Type::Float, rule: Rule::Sql(sql.to_owned()), default: default.map(Value::Float) }
}

fn own(name: &str) -> KeyOrigin {
    KeyOrigin::Request(name.to_owned())
}

fn read(view: &str, role: Option<&str>, keys: Vec<KeyOrigin>, features: &[&str]) -> HydrationRead {
    HydrationRead {
        view: view.to_owned(),
        role: role.map(str::to_owned),
        keys,
        features: features.iter().map(|name| (*name).to_owned()).collect(),
    }
}

/// The flight, and the plane that its schedule names.
fn reads(distance: &[&str]) -> [HydrationRead; 2] {
    let tail = KeyOrigin::Feature { view: "schedule".to_owned(), feature: "tailnum".to_owned() };
    [
        read("schedule", None, vec![own("carrier"), own("flight")], &["hour"]),
        read("plane", Some("own"), vec![tail], distance),
    ]
}

/// Of a flight, over its schedule and its plane.
fn pace() -> (String, LiveView) {
    let definition = FeatureView {
        name: "pace".to_owned(),
        input: ViewInput::Views(vec![InputView::named("schedule"), InputView::named("plane")]),
        features: IndexMap::from([
            ("pace".to_owned(), feature("own_distance / hour", None)),
            ("known".to_owned(), feature("own_distance * 2", Some(-1.0))),
        ]),
        ..schedule().definition().clone()
    };
    let view = OnlineView::new(definition, 7, schedule().keys().clone(), false);
    let inputs = reads(&["distance"]).into_iter().zip([schedule(), plane()]);
    let input = |(read, view)| LiveInput { read, view: LiveView::new(view, false, Vec::new()) };
    ("pace".to_owned(), LiveView::new(view, false, inputs.map(input).collect()))
}

async fn asked(world: &World, body: Json) -> (u16, Json) {
    let address = format!("{}/v1/features/online", world.http);
    let reply = world.client.post(address).json(&body).send().await.unwrap();
    (reply.status().as_u16(), reply.json().await.unwrap())
}

#[tokio::test]
async fn a_derived_view_is_computed_from_what_redis_holds_of_its_inputs_across_entities() {
    let mut world = crate::world().await;
    world.live.views = [live_view(schedule()), pace()].into();
    world.publish().await;
    let flights = json!([{"carrier": "UA", "flight": 1}, {"carrier": "XX", "flight": 9}]);
    let body = json!({"features": ["pace", "schedule:hour"], "entities": flights});
    soon(async || asked(&world, body.clone()).await.0 == 200).await;
    let (_, reply) = asked(&world, body).await;
    let pace = |entity: usize| reply["entities"][entity]["views"][0].clone();
    assert_eq!(pace(0)["values"], json!({"pace": 250.0 / 9.0, "known": 500.0}), "{reply}");
    // As fresh as the oldest of its inputs, which is the schedule; the plane's values are stale.
    let told = |key: &str| pace(0)[key].clone();
    assert_eq!((told("status"), told("version")), (json!("stale"), json!(7)));
    assert_eq!(told("valid_at"), json!("2013-05-25T04:00:00Z"));
    let unknown = json!({"pace": null, "known": -1.0});
    assert_eq!((&pace(1)["values"], &pace(1)["status"]), (&unknown, &json!("absent")));
    assert_eq!(pace(1)["defaulted"], json!(["known"]));
    world.stop().await;
}

#[tokio::test]
async fn on_demand_features_are_computed_from_request_keys_and_hydrated_values() {
    let mut world = crate::world().await;
    world.add("late", 1, &["lightgbm"]).await;
    let row =
        [("flight", Type::Int), ("hour", Type::Int), ("own_distance", Type::Float), ("detour", Type::Float)];
    world.change("late", 1, |version| {
        version.request = [("detour".to_owned(), Type::Float)].into();
        version.nullable = Some(vec!["detour".to_owned()]);
        version.views.extend([live_view(plane())]);
        version.hydration = Hydration {
            rounds: reads(&["distance"]).map(|read| vec![read]).to_vec(),
            columns: version.hydration.columns.clone(),
            on_demand: Some(OnDemand {
                row: row.map(|(name, ty)| (name.to_owned(), ty)).into(),
                features: [("distance".to_owned(), feature("own_distance + detour * flight", Some(1.0)))]
                    .into(),
            }),
        };
    });
    world.promote("late", 1).await;
    world.ready().await;
    let flight = json!({"carrier": "UA", "flight": 1});
    let body = json!({
        "entities": [flight, flight], "request": [{"detour": 10.0}, {}], "want_features": true
    });
    let (status, reply) = world.rest("late", body).await;
    assert_eq!(status, 200, "{reply}");
    let told = |entity: usize, key: &str| reply["predictions"][entity][key].clone();
    assert_eq!(told(0, "features"), json!({"carrier": "UA", "hour": 9, "distance": 260.0}));
    assert_eq!(told(0, "defaulted"), json!([]));
    assert_eq!(told(1, "features"), json!({"carrier": "UA", "hour": 9, "distance": 1.0}));
    assert_eq!(told(1, "defaulted"), json!(["distance"]));
    world.stop().await;
}
