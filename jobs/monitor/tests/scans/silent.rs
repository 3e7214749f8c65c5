//! Live models that don't answer, seen by two servers.

use chrono::TimeDelta;
use serde_json::Value as Json;
use tidemill_catalog::IncidentSubject;
use tidemill_core::Time;
use tidemill_monitor::ModelWatch;
use tidemill_online::{Replica, Served};
use tidemill_testkit::run_until_idle;

use crate::world::{World, day, usual, visits, webhooks};

/// Two servers that look at the same moments.
struct Servers<'w> {
    world: &'w World,
    watches: [ModelWatch; 2],
}

impl Servers<'_> {
    /// What a serving process says is seen by both; the states of all incidents, newest first.
    async fn look(&mut self, seconds: i64, served: Served) -> Vec<String> {
        let models = [("buyer".to_owned(), [(1, served)].into())].into();
        let replica = Replica { address: "127.0.0.1:7436".to_owned(), models, ..Replica::default() };
        let deps = &self.world.deps;
        for watch in &mut self.watches {
            deps.online.say("one", &replica).await.unwrap();
            watch.look(&deps.catalog, &deps.online, at(seconds)).await.unwrap();
        }
        let incidents = deps.catalog.incidents(None).await.unwrap();
        incidents.into_iter().map(|incident| incident.state).collect()
    }
}

fn at(seconds: i64) -> Time {
    day(61) + TimeDelta::seconds(seconds)
}

fn failed() -> Served {
    Served::Failed("none of its processes runs: killed by signal 9; starting again".to_owned())
}

#[tokio::test]
async fn a_live_model_that_does_not_answer_is_one_incident_however_many_servers_see_it() {
    let world = World::new().await;
    world.fill(&visits(1, 17, usual)).await;
    world.train("buyer").await;
    let mut servers = Servers { world: &world, watches: Default::default() };
    assert!(servers.look(0, Served::Ready).await.is_empty());
    assert!(servers.look(2, failed()).await.is_empty());
    assert_eq!(servers.look(20, failed()).await, ["open"]);
    assert_eq!(servers.look(22, failed()).await, ["open"]);

    // Whoever is told of what the model's monitors find is told of this, once.
    run_until_idle(world.store(), tidemill_monitor::jobs(&world.deps, &webhooks())).await.unwrap();
    assert!(world.failures().await.is_empty());
    let [body] = &world.webhook.taken()[..] else { panic!("one delivery: {:?}", world.webhook.taken()) };
    let text = body["text"].as_str().unwrap();
    let what = "model buyer: version 1 at 127.0.0.1:7436: none of its processes runs: killed by signal 9";
    assert!(text.starts_with(what) && text.contains("(since 20"), "{text}");
    let incident = &body["incident"];
    assert_eq!((&incident["model"], &incident["state"]), (&"buyer".into(), &"open".into()));
    assert_eq!(
        (&incident["monitor"], &incident["from"], &body["scan"]),
        (&Json::Null, &Json::Null, &Json::Null)
    );
    let [found] = &world.deps.catalog.incidents(None).await.unwrap()[..] else { panic!("one incident") };
    assert_eq!(found.subject, IncidentSubject::Model("buyer".to_owned()));
    assert_eq!(found.notified[0].notifier, "ops");
    // It is no monitor's.
    assert!(world.incidents("drift").await.is_empty());
    let monitors = tidemill_monitor::monitors(&world.deps.catalog).await.unwrap();
    assert!(monitors.iter().all(|row| row.incident.is_none()));

    assert_eq!(servers.look(30, Served::Ready).await, ["open"]);
    assert_eq!(servers.look(90, Served::Ready).await, ["closed"]);
    // The next time is another incident.
    servers.look(100, failed()).await;
    assert_eq!(servers.look(120, failed()).await, ["open", "closed"]);
}
