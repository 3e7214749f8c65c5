//! Rows that replace and withdraw each other by the source's `unique` columns, and what a tombstone does without them.

use tidemill_online::{Status, ViewFeatures};
use tidemill_rows::Row;
use tidemill_spec::Value;

use crate::world::{World, at};

const ORDERS: &str = r#"
apiVersion: tidemill/v1
kind: Project
name: shop
clock: { replay: { start: "2013-06-01T00:00:00Z", speed: 0 } }
---
apiVersion: tidemill/v1
kind: Entity
name: customer
keys: { customer: int }
---
apiVersion: tidemill/v1
kind: Source
name: orders
columns:
  customer: int
  event: int
  at: timestamp
  x: string
  gone: bool
event_time: at
deleted: gone
unique: [event]
---
apiVersion: tidemill/v1
kind: FeatureView
name: last_order
entity: customer
source: orders
features: { event: int, x: { type: int, sql: CAST(x AS BIGINT) } }
online: true
---
apiVersion: tidemill/v1
kind: FeatureView
name: recent
entity: customer
source: orders
features: { orders: { type: int, count: "*", window: 5h } }
online: true
---
apiVersion: tidemill/v1
kind: FeatureView
name: twice
entity: customer
inputs: [last_order]
features: { twice: { type: int, sql: x * 2 } }
online: true
"#;

/// An order of customer 3 as it is said at a minute.
struct Order {
    event: i64,
    minute: i64,
    x: &'static str,
    gone: bool,
}

fn order(event: i64, minute: i64, x: &'static str) -> Order {
    Order { event, minute, x, gone: false }
}

fn withdrawn(event: i64, minute: i64) -> Order {
    Order { event, minute, x: "0", gone: true }
}

async fn say(world: &World, orders: &[Order]) {
    for order in orders {
        let row = Row::from_iter([
            ("customer".to_owned(), Value::Int(3)),
            ("event".to_owned(), Value::Int(order.event)),
            ("at".to_owned(), Value::Timestamp(at(order.minute))),
            ("x".to_owned(), Value::String(order.x.to_owned())),
            ("gone".to_owned(), Value::Bool(order.gone)),
        ]);
        world.ingest("orders", vec![(order.minute, order.gone, row)]).await;
        world.drain().await;
    }
}

async fn now(world: &World, view: &str) -> ViewFeatures {
    world.of("customer", 3.into(), view, None).await
}

async fn then(world: &World, view: &str, minute: i64) -> ViewFeatures {
    world.of("customer", 3.into(), view, Some(at(minute))).await
}

#[tokio::test]
async fn a_withdrawn_order_leaves_the_others_of_its_customer() {
    let world = World::with(ORDERS, &[]).await;
    say(&world, &[order(200, 400, "5"), order(201, 500, "7"), withdrawn(200, 550)]).await;
    let last = now(&world, "last_order").await;
    assert_eq!((&last.values["event"], &last.values["x"]), (&Value::Int(201), &Value::Int(7)));
    assert_eq!((last.status, last.valid_at), (Status::Fresh, Some(at(500))));
    assert_eq!(now(&world, "twice").await.values["twice"], Value::Int(14));
    assert_eq!(now(&world, "recent").await.values["orders"], Value::Int(1));

    say(&world, &[order(202, 560, "9"), withdrawn(202, 570)]).await;
    assert_eq!(
        now(&world, "last_order").await.values["x"],
        Value::Int(7),
        "the one before is the last again"
    );
    assert_eq!(then(&world, "last_order", 565).await.values["x"], Value::Int(9));
    assert_eq!(then(&world, "last_order", 450).await.values["x"], Value::Int(5));

    say(&world, &[withdrawn(201, 580)]).await;
    for view in ["last_order", "twice"] {
        assert_eq!(now(&world, view).await.status, Status::Absent, "{view}");
    }
    assert_eq!(now(&world, "recent").await.values["orders"], Value::Int(0));
    world.check_parity().await;
}

#[tokio::test]
async fn a_correction_of_an_older_order_does_not_make_it_the_last() {
    let world = World::with(ORDERS, &[]).await;
    say(&world, &[order(300, 400, "5"), order(301, 500, "7"), order(300, 550, "6")]).await;
    assert_eq!(now(&world, "last_order").await.values["event"], Value::Int(301));
    assert_eq!(now(&world, "twice").await.values["twice"], Value::Int(14));
    say(&world, &[withdrawn(301, 560)]).await;
    assert_eq!(now(&world, "last_order").await.values["x"], Value::Int(6), "as it was corrected");
    world.check_parity().await;
}

#[tokio::test]
async fn without_unique_columns_a_tombstone_ends_the_entity_at_its_moment() {
    let world = World::with(&ORDERS.replace("unique: [event]\n", ""), &[]).await;
    say(&world, &[order(200, 400, "5"), order(201, 500, "7"), withdrawn(200, 550)]).await;
    for view in ["last_order", "twice"] {
        assert_eq!(now(&world, view).await.status, Status::Absent, "{view}");
        assert_eq!(then(&world, view, 549).await.status, Status::Fresh, "{view}");
    }
    assert_eq!(now(&world, "recent").await.values["orders"], Value::Int(0));
    assert_eq!(then(&world, "recent", 549).await.values["orders"], Value::Int(2));
    say(&world, &[order(202, 560, "9")]).await;
    assert_eq!(now(&world, "recent").await.values["orders"], Value::Int(1));
    assert_eq!(now(&world, "last_order").await.values["x"], Value::Int(9));
    world.check_parity().await;
}

#[tokio::test]
async fn a_correction_that_its_own_sql_fails_on_is_null_and_a_dead_letter() {
    for unique in ["unique: [event]\n", ""] {
        let world = World::with(&ORDERS.replace("unique: [event]\n", unique), &[]).await;
        say(&world, &[order(200, 400, "5"), order(200, 450, "five")]).await;
        let last = now(&world, "last_order").await;
        assert_eq!((&last.values["event"], &last.values["x"]), (&Value::Int(200), &Value::Null));
        assert_eq!(now(&world, "twice").await.values["twice"], Value::Null);
        assert_eq!(then(&world, "last_order", 420).await.values["x"], Value::Int(5));
        let dead = tidemill_features::dead_letters(&world.deps, "last_order", 10).await.unwrap();
        assert_eq!(dead.count, 1);
        assert!(dead.newest[0].reason.contains("five"), "{dead:?}");
        world.check_parity().await;
    }
}

#[tokio::test]
async fn a_redis_that_lost_everything_gets_the_last_of_what_was_not_withdrawn() {
    let world = World::with(ORDERS, &[]).await;
    say(&world, &[order(200, 400, "5"), order(201, 500, "7"), withdrawn(201, 550)]).await;
    world.deps.online.drop_version("last_order", 1).await.unwrap();
    world.enqueue(tidemill_features::behind(&world.deps).await.unwrap()).await;
    world.drain().await;
    assert_eq!(now(&world, "last_order").await.values["x"], Value::Int(5));
    world.check_parity().await;
}

#[tokio::test]
async fn a_withdrawal_ahead_of_its_time_waits_for_the_clock() {
    let world = World::with(ORDERS, &[]).await;
    say(&world, &[order(200, 400, "5"), order(201, 500, "7"), withdrawn(201, 650)]).await;
    assert_eq!(now(&world, "last_order").await.values["x"], Value::Int(7));
    world.clock(650).await;
    world.drain().await;
    assert_eq!(now(&world, "last_order").await.values["x"], Value::Int(5));
    world.check_parity().await;
}
