//! A view that is declared otherwise is filled beside the one that serves, then takes its place.

use chrono::TimeDelta;
use tidemill_catalog::ViewState;
use tidemill_core::{AttemptPolicy, Clock as _, SystemClock};
use tidemill_features::{dispensable, wishes_of_changes};
use tidemill_offline::{CommitRange, Table};
use tidemill_rows::Row;
use tidemill_runtime::job_new;
use tidemill_spec::{
    Value,
    steps::{FEATURES_BACKFILL, FeaturesBackfill},
};
use tidemill_store::NewJob;

use tidemill_testkit::redis::{Prefix, Server};

use crate::{
    changes::model_over,
    world::{PROJECT, World, at, departure},
};

fn backfill_new(view: &str) -> NewJob {
    NewJob {
        policy: AttemptPolicy::default(),
        ..job_new(FEATURES_BACKFILL, &FeaturesBackfill { view: view.to_owned() })
    }
}

#[tokio::test]
async fn a_changed_view_serves_its_old_version_until_the_new_one_is_full() {
    let mut world = World::new().await;
    world.depart(&[departure("JFK", 1, 580, 10.0), departure("JFK", 2, 590, 20.0)]).await;
    world.drain().await;
    let changed = PROJECT.replace("sql: delay * 2", "sql: delay * 3");
    world.apply(&changed, &[]).await;
    let states = async |world: &World| -> Vec<_> {
        let versions = world.deps.catalog.view_versions(Some("newest")).await.unwrap();
        versions.into_iter().map(|version| (version.version, version.state)).collect()
    };
    assert_eq!(states(&world).await, [(2, ViewState::Building), (1, ViewState::Current)]);
    assert_eq!(world.now("newest", "JFK").await.values["twice"], Value::Float(40.0));
    // What comes while the new version isn't there yet is in both.
    world.depart(&[departure("JFK", 3, 595, 30.0)]).await;
    world.enqueue(vec![backfill_new("newest")]).await;
    world.drain().await;
    assert_eq!(states(&world).await, [(2, ViewState::Current), (1, ViewState::Retired)]);
    assert_eq!(world.now("newest", "JFK").await.values["twice"], Value::Float(90.0));
    assert!(world.deps.online.live().await.unwrap().is_some(), "published after the switch");
    world.check_parity().await;
}

#[tokio::test]
async fn a_backfill_by_hand_fills_the_same_declaration_again() {
    let world = World::new().await;
    world.depart(&[departure("JFK", 1, 580, 10.0)]).await;
    world.drain().await;
    for version in [2, 3] {
        world.enqueue(vec![backfill_new("load")]).await;
        world.drain().await;
        let current = world.deps.catalog.current_view("load").await.unwrap().unwrap();
        assert_eq!(current.version, version);
    }
    assert_eq!(world.now("load", "JFK").await.values["flights_2h"], Value::Int(1));
    world.check_parity().await;
}

#[tokio::test]
async fn versions_that_nothing_needs_are_dropped_with_their_values_and_rows() {
    let world = World::new().await;
    world.depart(&[departure("JFK", 1, 580, 10.0), departure("EWR", 2, 590, 20.0)]).await;
    world.observe(&[("JFK", 580, 3.0)]).await;
    world.drain().await;
    let (mut held, mut states) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        world.enqueue(vec![backfill_new("load")]).await;
        world.drain().await;
        held.push(world.redis.dump().await.unwrap().len());
        let versions = world.deps.catalog.view_versions(Some("load")).await.unwrap();
        states = versions.iter().map(|version| version.state).collect();
    }
    assert_eq!(held, vec![held[0]; 4], "values of two versions each time");
    use ViewState::{Current, Dropped, Retired};
    assert_eq!(states, [Current, Retired, Dropped, Dropped, Dropped]);
    // The last one goes when nobody can have it in hand any more.
    assert_eq!(dispensable(&world.deps, SystemClock.now()).await.unwrap().len(), 0);
    let wishes = dispensable(&world.deps, SystemClock.now() + TimeDelta::hours(2)).await.unwrap();
    assert_eq!(wishes.len(), 2, "of the view, and of the one that is computed from it");
    let (lake, head) = (&world.deps.lake, world.deps.lake.head().await.unwrap());
    let files = async |version, at| lake.files(&Table::view("load", version), at).await.unwrap().len();
    assert_eq!((files(1, head).await, files(3, head).await, files(5, head).await), (0, 0, 1));
    assert_eq!(files(3, 6).await, 0);
    assert!(lake.files(&Table::view("load", 4), head).await.unwrap().len() == 1, "it may be wanted again");
    world.check_parity().await;
}

#[tokio::test]
async fn fifty_backfills_take_what_one_takes_in_redis_and_a_dropped_view_nothing() {
    let server = Server::start().unwrap();
    let mut world = World::new().await;
    world.move_redis(Prefix { url: server.url(), prefix: "filled".to_owned() });
    let empty = server.used_memory().await.unwrap();
    let departed = |flight: i64| {
        Row::from_iter([
            ("origin".to_owned(), Value::String(format!("airport {flight}"))),
            ("flight".to_owned(), Value::Int(flight)),
            ("departed_at".to_owned(), Value::Timestamp(at(590))),
            ("delay".to_owned(), Value::Float(10.0)),
            ("gone".to_owned(), Value::Bool(false)),
        ])
    };
    world.ingest("departures", (0..3_000).map(|flight| (590, false, departed(flight))).collect()).await;
    world.drain().await;
    let backfill = async || {
        world.enqueue(vec![backfill_new("newest")]).await;
        world.drain().await;
        server.used_memory().await.unwrap()
    };
    let after_one = backfill().await;
    assert!(after_one > empty + 1_000_000, "{empty} {after_one}: a copy more would be seen");
    let mut after_fifty = after_one;
    for _ in 1..50 {
        after_fifty = backfill().await;
    }
    assert!(after_fifty.abs_diff(after_one) * 20 <= after_one, "{after_one} {after_fifty}");
    let current = world.deps.catalog.current_view("newest").await.unwrap().unwrap();
    assert_eq!(current.version, 51);

    // Its declaration goes; the versions of before have been dropped, and the last one is when its time has come.
    let (before, view) =
        PROJECT.split_once("apiVersion: tidemill/v1\nkind: FeatureView\nname: newest").unwrap();
    let after = view.split_once("---\n").unwrap().1;
    world.apply(&format!("{before}{after}"), &[]).await;
    tidemill_live::publish(&world.deps.catalog, &world.deps.online).await.unwrap();
    world.retired_long_ago().await;
    let wishes = dispensable(&world.deps, SystemClock.now()).await.unwrap();
    assert_eq!(wishes.len(), 1);
    world.enqueue(wishes).await;
    world.drain().await;
    // As values and markers are named, and as the live set names it.
    let of_view =
        |line: &String| [":newest:", " newest:", "\"newest\""].iter().any(|name| line.contains(name));
    let left: Vec<String> = world.redis.dump().await.unwrap().into_iter().filter(of_view).collect();
    assert_eq!(left, [""; 0]);
}

#[tokio::test]
async fn a_view_over_one_that_is_filled_anew_takes_its_place_after_it_and_holds_no_rows() {
    let mut world = World::new().await;
    world.depart(&[departure("JFK", 1, 580, 10.0)]).await;
    world.observe(&[("JFK", 570, 3.0)]).await;
    world.observe(&[("JFK", 590, 4.0)]).await;
    world.drain().await;
    // A model goes on with what it was trained on.
    let store = world.deps.catalog.store().clone();
    let mut tx = store.begin().await.unwrap();
    world.deps.catalog.insert_model_version(&mut tx, "job", &model_over("stress")).await.unwrap();
    tx.commit().await.unwrap();

    let changed =
        PROJECT.replace("features: { wind: float }", "features: { wind: { type: float, sql: wind * 60 } }");
    let changes = world.apply(&changed, &[]).await;
    let wishes = wishes_of_changes(&world.objects, &changes);
    assert_eq!(wishes.len(), 1, "the other follows");
    // Asked for too early, it says what it waits for.
    world.enqueue(vec![backfill_new("stress")]).await;
    world.enqueue(wishes).await;
    world.drain().await;
    assert!(world.log().await.iter().any(|line| line.contains("is filled when weather_now v2 is")));
    let commits =
        world.deps.lake.commits(&Table::view("stress", 2), CommitRange::upto(i64::MAX)).await.unwrap();
    assert_eq!(commits.len(), 0, "it is computed whenever it is asked");
    assert_eq!(world.now("stress", "JFK").await.values["stress"], Value::Float(2400.0));

    world.observe(&[("JFK", 595, 5.0)]).await;
    world.drain().await;
    assert_eq!(world.now("stress", "JFK").await.values["stress"], Value::Float(3000.0));
    let version = world.deps.catalog.view_version("stress", 1).await.unwrap().unwrap();
    let read = world.now_of(&version, &[vec![Value::String("JFK".into())]], at(600)).await;
    assert_eq!(read[0].values["stress"], Value::Float(50.0), "its own weather, not ours");
    world.check_parity().await;
}
