//! A view that is declared otherwise is filled beside the one that serves, then takes its place.

use chrono::TimeDelta;
use tidemill_catalog::ViewState;
use tidemill_core::{AttemptPolicy, Clock as _, SystemClock};
use tidemill_features::{dispensable, wishes_of_changes};
use tidemill_offline::{CommitRange, Table};
use tidemill_runtime::job_new;
use tidemill_spec::{
    Value,
    steps::{FEATURES_BACKFILL, FeaturesBackfill},
};
use tidemill_store::NewJob;

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
