//! Deliveries: one per incident and notifier, however long the receiver is away.

use std::{any::Any, collections::BTreeSet};

use tidemill_testkit::{
    faults::{Digest, FaultWorld, dies_between_effect_and_checkpoint},
    run_until_idle,
};

use crate::world::{World, day, unusual, usual, visits};

#[tokio::test]
async fn a_receiver_that_was_away_gets_the_incident_once_it_is_back() {
    let world = World::new().await;
    world.fill(&[visits(1, 16, usual), visits(16, 26, unusual)].concat()).await;
    // A redirect is no success: what is posted would not arrive.
    world.webhook.refuse(&[500, 302, 404, 503]);
    let scan = world.scan("quality", 16, 21).await;
    let incident = scan.incident.unwrap().to_string();
    assert_eq!(world.webhook.asked(), vec![incident.clone(); 5]);
    let [body] = &world.webhook.taken()[..] else { panic!("one delivery") };
    assert_eq!(
        (&body["incident"]["id"], &body["incident"]["state"]),
        (&incident.clone().into(), &"open".into())
    );
    assert!(body["text"].as_str().unwrap().starts_with("quality: psi pages "), "{body}");
    assert_eq!(
        (&body["scan"]["status"], &body["scan"]["report"]),
        (&"fail".into(), &scan.report.clone().into())
    );
    assert!(body["scan"]["columns"].is_null());

    let incidents = world.incidents("quality").await;
    let [told] = &incidents[0].notified[..] else { panic!("one notifier") };
    assert!(told.notifier == "ops" && told.delivered_at.is_some());
    // The next failing window is the same incident.
    assert_eq!(world.scan("quality", 21, 26).await.incident, scan.incident);
    let [grown] = &world.incidents("quality").await[..] else { panic!("one incident") };
    assert_eq!((grown.from, grown.to), (Some(day(16)), Some(day(26))));
    assert_eq!(world.webhook.asked().len(), 5);
}

/// The worker is killed before each thing that scan and notice ask of the database, also between the two. A receiver
/// that was reached just before may be asked again, with the same key.
#[tokio::test]
async fn a_worker_killed_anywhere_between_scan_and_notice_leaves_one_notice() {
    let fresh = async || {
        let world = World::new().await;
        world.fill(&[visits(1, 16, usual), visits(16, 21, unusual)].concat()).await;
        let run = world.start("quality", day(16), day(21)).await;
        let (store, jobs) =
            (world.store().clone(), tidemill_monitor::jobs(&world.deps, &crate::world::webhooks()));
        let (catalog, webhook) = (world.deps.catalog.clone(), world.webhook.clone());
        let digest: Digest = Box::new(move || {
            let (catalog, webhook) = (catalog.clone(), webhook.clone());
            Box::pin(async move {
                let incidents = catalog.incidents(Some("quality")).await?;
                let keys: BTreeSet<String> = webhook.asked().into_iter().collect();
                let told = incidents[0].notified.iter().filter(|told| told.delivered_at.is_some()).count();
                let own = keys.iter().all(|key| *key == incidents[0].id.to_string());
                Ok(format!("{} incident, {} key, its own: {own}, {told} told", incidents.len(), keys.len()))
            })
        });
        let keep: Box<dyn Any + Send> = Box::new(world);
        Ok(FaultWorld { store, jobs, run, digest, keep })
    };
    // Scan and notice, each with a commit of its own.
    assert!(dies_between_effect_and_checkpoint(fresh).await.unwrap() >= 4);
}

#[tokio::test]
async fn what_is_never_taken_is_given_up_and_told_by_a_retry() {
    let world = World::new().await;
    world.fill(&[visits(1, 16, usual), visits(16, 21, unusual)].concat()).await;
    world.webhook.refuse(&[500; 1000]);
    world.start("quality", day(16), day(21)).await;
    run_until_idle(world.store(), tidemill_monitor::jobs(&world.deps, &crate::world::webhooks()))
        .await
        .unwrap();
    let [fault] = &world.failures().await[..] else { panic!("one failure") };
    assert_eq!(fault.code.unwrap().to_string(), "TM0906", "{fault}");
    assert!(fault.message.contains("500") && !fault.message.contains("127.0.0.1"), "{fault}");
    let incidents = world.incidents("quality").await;
    assert_eq!((incidents[0].notified.len(), incidents[0].notified[0].delivered_at), (1, None));
}
