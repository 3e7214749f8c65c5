//! Latest features over both doors, with nothing behind them but Redis.

use prost_types::{Struct, Value as Wire, value::Kind};
use serde_json::{Value as Json, json};
use tidemill_online::OnlineView;
use tidemill_proto::features::v1::{GetOnlineFeaturesRequest, feature_service_client::FeatureServiceClient};
use tidemill_spec::{FeatureView, Value};
use tonic::Code;

use crate::{
    world,
    world::{World, live_view, plane, schedule, soon, string},
};

async fn with_views() -> World {
    let mut world = world().await;
    world.live.views = [live_view(schedule()), live_view(plane())].into();
    world.publish().await;
    soon(async || {
        ask(&world, json!({"features": ["plane"], "entities": [{"tailnum": "N1"}]})).await.0 == 200
    })
    .await;
    world
}

async fn ask(world: &World, body: Json) -> (u16, Json) {
    let reply =
        world.client.post(format!("{}/v1/features/online", world.http)).json(&body).send().await.unwrap();
    (reply.status().as_u16(), reply.json().await.unwrap())
}

#[tokio::test]
async fn latest_features_are_the_same_over_both_doors() {
    let world = with_views().await;
    let key = json!({"carrier": "UA", "flight": "1", "tailnum": "N1"});
    let (status, reply) =
        ask(&world, json!({"features": ["schedule:hour", "plane"], "entities": [key]})).await;
    assert_eq!(status, 200, "{reply}");
    let views = json!([
        {"view": "schedule", "version": 1, "valid_at": "2013-05-25T04:00:00Z", "age_seconds": 604_800.0, "status": "fresh",
         "values": {"hour": 9}, "defaulted": []},
        {"view": "plane", "version": 1, "valid_at": "2013-06-01T03:00:00Z", "age_seconds": 3600.0, "status": "stale",
         "values": {"distance": 250.0}, "defaulted": []},
    ]);
    assert_eq!((&reply["entities"][0]["views"], &reply["at"]), (&views, &json!("2013-06-01T04:00:00Z")));
    // Without names: what the keys are enough for.
    let (_, planes) = ask(&world, json!({"entities": [{"tailnum": "N1"}, {"tailnum": "N2"}]})).await;
    let status = |entity: usize| planes["entities"][entity]["views"][0]["status"].clone();
    assert_eq!((status(0), status(1)), (json!("stale"), json!("absent")), "{planes}");

    let wire = |kind| Wire { kind: Some(kind) };
    let entity = Struct { fields: [("tailnum".to_owned(), wire(Kind::StringValue("N1".to_owned())))].into() };
    let request = GetOnlineFeaturesRequest { features: vec!["plane".to_owned()], entities: vec![entity] };
    let mut client = FeatureServiceClient::new(world.channel().await);
    let reply = client.get_online_features(request).await.unwrap().into_inner();
    let found = &reply.entities[0].views[0];
    assert_eq!((found.view.as_str(), found.version, found.status.as_str()), ("plane", 1, "stale"));
    assert_eq!(found.values.as_ref().unwrap().fields["distance"].kind, Some(Kind::NumberValue(250.0)));
    let nobody = client.get_online_features(GetOnlineFeaturesRequest::default()).await.unwrap_err();
    assert_eq!(nobody.code(), Code::InvalidArgument);
    world.stop().await;
}

#[tokio::test]
async fn what_is_asked_wrongly_is_said_and_one_unreadable_value_costs_its_own_entity() {
    let world = with_views().await;
    for (body, code, words) in [
        (json!({"features": ["planes"], "entities": [{}]}), "TM0613", "known: schedule, plane"),
        (json!({"features": ["plane:seats"], "entities": [{}]}), "TM0613", "known: distance"),
        (json!({"features": ["plane"], "entities": [{"tail": "N1"}]}), "TM0616", "needs the key `tailnum`"),
        (
            json!({"features": ["schedule"], "entities": [{"carrier": "UA", "flight": 1.5}]}),
            "TM0833",
            "`flight`",
        ),
        (json!({"features": ["plane"], "entities": []}), "TM0834", "`entities` is empty"),
        (json!({"features": ["plane"], "entities": [{}], "view": 1}), "TM0834", "view"),
    ] {
        let (status, reply) = ask(&world, body.clone()).await;
        let told = &reply["error"];
        assert!((400..405).contains(&status) && told["code"] == code, "{body}: {reply}");
        assert!(told["message"].as_str().unwrap().contains(words), "{reply}");
    }
    // As another release would have left it.
    let definition = FeatureView { name: "plane".to_owned(), ..schedule().definition().clone() };
    let odd = OnlineView::new(definition, 1, plane().keys().clone(), false);
    world.put(&odd, vec![string("N9")], vec![Value::Int(1), string("x")], "2013-06-01T03:00:00Z").await;
    let (status, reply) = ask(&world, json!({"entities": [{"tailnum": "N9"}, {"tailnum": "N1"}]})).await;
    assert_eq!((status, &reply["entities"][0]["error"]["code"]), (200, &json!("TM0838")), "{reply}");
    assert_eq!(reply["entities"][1]["views"][0]["values"]["distance"], json!(250.0));
    world.stop().await;
}
