//! A view that is declared otherwise is filled beside the one that serves, then takes its place.

use tidemill_catalog::ViewState;
use tidemill_core::AttemptPolicy;
use tidemill_runtime::job_new;
use tidemill_spec::{
    Value,
    steps::{FEATURES_BACKFILL, FeaturesBackfill},
};
use tidemill_store::NewJob;

use crate::world::{PROJECT, World, departure};

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
