//! Rollouts, judged by two servers over what serving processes write to Redis.

use chrono::TimeDelta;
use tidemill_catalog::{RolloutPlan, RolloutState};
use tidemill_core::{RolloutId, Time};
use tidemill_monitor::judge_rollouts;
use tidemill_online::{Arms, LiveSplit, Tally};
use tidemill_registry::{Error, canary, promote, rollback};
use tidemill_testkit::run_until_idle;

use crate::world::{World, usual, visits, webhooks};

/// Long after every step.
fn later() -> Time {
    Time::UNIX_EPOCH + TimeDelta::days(365 * 200)
}

fn plan() -> RolloutPlan {
    RolloutPlan {
        steps: vec![10, 50],
        every_seconds: 3_600,
        entities_min: 100,
        error_rate_max: None,
        p95_ms_max: None,
    }
}

fn tally(entities: u64, failed: u64) -> Tally {
    let mut tally = Tally { requests: entities, errors: failed, entities, failed, ..Tally::default() };
    for _ in 0..entities {
        tally.latency.observe(0.004);
        tally.took.observe(0.004);
    }
    tally
}

/// Version 2 is champion, and version 1 goes on trial against it.
async fn shop() -> World {
    let world = World::new().await;
    world.fill(&visits(1, 18, usual)).await;
    world.train("buyer").await;
    world.train_to("buyer", 17).await;
    world
}

impl World {
    async fn on_trial(&self) -> RolloutId {
        let (catalog, online) = (&self.deps.catalog, &self.deps.online);
        canary(catalog, online, ("buyer", "champion"), 1, &plan()).await.unwrap()
    }

    /// What a serving process says that both arms did.
    async fn served(&self, rollout: RolloutId, step: u32, candidate: Tally, control: Tally) {
        let arms = Arms { candidate, control };
        self.deps.online.put_arms(&rollout.to_string(), step, "one", &arms).await.unwrap();
    }

    /// Both servers look at the same time.
    async fn judged(&self) {
        let look = || judge_rollouts(&self.deps.catalog, &self.deps.online, later());
        let (one, other) = tokio::join!(look(), look());
        one.unwrap();
        other.unwrap();
    }

    async fn split(&self) -> Option<LiveSplit> {
        let live = self.deps.online.live().await.unwrap().unwrap();
        live.models["buyer"].splits.get("champion").cloned()
    }

    async fn champion(&self) -> (i32, Option<i32>) {
        let alias = self.deps.catalog.model_alias("buyer", "champion").await.unwrap().unwrap();
        (alias.version, alias.previous)
    }
}

#[tokio::test]
async fn a_candidate_that_fails_is_rolled_back_with_an_incident_that_ends_with_the_next_rollout() {
    let world = shop().await;
    let rollout = world.on_trial().await;
    let split = world.split().await.unwrap();
    assert_eq!((split.candidate, split.percent), (1, 10));
    world.judged().await;
    let [waiting] = &world.deps.catalog.rollouts().await.unwrap()[..] else { panic!("one rollout") };
    assert_eq!(waiting.reason, "0 of 100 entities have asked version 1");

    world.served(rollout, 0, tally(100, 60), tally(900, 1)).await;
    world.judged().await;
    assert_eq!((world.split().await, world.champion().await), (None, (2, Some(1))));
    let [ended] = &world.deps.catalog.rollouts_of("buyer", 5).await.unwrap()[..] else { panic!("one") };
    let why = "60 of its first 100 predictions failed (version 1: 60 of 100 requests failed, p95 ";
    assert_eq!(ended.state, RolloutState::RolledBack);
    assert!(
        ended.reason.starts_with(why) && ended.reason.contains("version 2: 1 of 900"),
        "{}",
        ended.reason
    );

    run_until_idle(world.store(), tidemill_monitor::jobs(&world.deps, &webhooks())).await.unwrap();
    let [body] = &world.webhook.taken()[..] else { panic!("one delivery: {:?}", world.webhook.taken()) };
    let text = body["text"].as_str().unwrap();
    assert!(text.contains("version 1 was rolled back from 10 % of champion: 60 of its"), "{text}");
    let states = || async {
        let incidents = world.deps.catalog.incidents(None).await.unwrap();
        incidents.into_iter().map(|incident| incident.state).collect::<Vec<_>>()
    };
    assert_eq!(states().await, ["open"]);
    world.on_trial().await;
    assert_eq!(states().await, ["closed"]);
}

#[tokio::test]
async fn a_candidate_that_does_as_well_grows_and_is_promoted() {
    let world = shop().await;
    let rollout = world.on_trial().await;
    world.served(rollout, 0, tally(100, 0), tally(900, 1)).await;
    world.judged().await;
    assert_eq!(world.split().await.map(|split| (split.step, split.percent)), Some((1, 50)));
    // What the first step had says nothing of the second.
    world.judged().await;
    assert_eq!(world.champion().await, (2, Some(1)));
    world.served(rollout, 1, tally(100, 0), tally(100, 0)).await;
    world.judged().await;
    assert_eq!((world.split().await, world.champion().await), (None, (1, Some(2))));
    let [ended] = &world.deps.catalog.rollouts_of("buyer", 5).await.unwrap()[..] else { panic!("one") };
    assert_eq!((ended.state, ended.percent()), (RolloutState::Promoted, 0));
    assert!(world.deps.catalog.incidents(None).await.unwrap().is_empty());
}

#[tokio::test]
async fn one_version_at_a_time_is_on_its_way_and_hands_end_it() {
    let world = shop().await;
    let (catalog, online) = (&world.deps.catalog, &world.deps.online);
    let of = |candidate, plan: RolloutPlan| async move {
        canary(catalog, online, ("buyer", "champion"), candidate, &plan).await.unwrap_err()
    };
    assert!(
        matches!(of(2, plan()).await, Error::NoRollout { reason } if reason.contains("names version 2 already"))
    );
    assert!(matches!(of(9, plan()).await, Error::UnknownVersion { .. }));
    let shrinks = RolloutPlan { steps: vec![50, 10], ..plan() };
    assert!(matches!(of(1, shrinks).await, Error::NoRollout { reason } if reason.contains("[50, 10]")));

    world.on_trial().await;
    let error = of(1, plan()).await;
    assert_eq!(error.to_string(), "version 1 is on its way to champion of model `buyer`");
    let other = promote(catalog, online, "buyer", 2, "champion").await.unwrap_err();
    assert_eq!(other.fault().code.unwrap().0, 882);
    // Nothing was promoted, so nothing goes back but the share.
    assert_eq!(rollback(catalog, online, "buyer", "champion").await.unwrap().version, Some(2));
    assert_eq!((world.split().await, world.champion().await), (None, (2, Some(1))));

    world.on_trial().await;
    assert_eq!(promote(catalog, online, "buyer", 1, "champion").await.unwrap().version, Some(1));
    assert_eq!((world.split().await, world.champion().await), (None, (1, Some(2))));
    let states: Vec<RolloutState> =
        catalog.rollouts_of("buyer", 5).await.unwrap().into_iter().map(|rollout| rollout.state).collect();
    assert_eq!(states, [RolloutState::Promoted, RolloutState::RolledBack]);
}
