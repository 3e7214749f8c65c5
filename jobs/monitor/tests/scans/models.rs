//! Models: predictions, labels and AUC against what the champion was trained on; labels that come late.

use tidemill_core::Time;
use tidemill_monitor::{MonitorTicks, Verdict};
use tidemill_runtime::Fire as _;
use tidemill_testkit::run_until_idle;

use crate::world::{World, column, day, said, unusual, usual, visits};

#[tokio::test]
async fn a_champion_that_is_asked_of_other_visits_drifts_and_fails() {
    let world = World::new().await;
    world.fill(&[visits(1, 21, usual), visits(21, 26, unusual)].concat()).await;
    world.train("buyer").await;
    let usual = world.scan("drift", 16, 21).await;
    assert_eq!(usual.status, Verdict::Ok, "{:#?}", usual.results);
    // Of ten days the last visits are known inside the holdout; they trained nothing.
    assert_eq!((usual.rows, usual.rows_reference, usual.version), (240, 431, Some(1)));
    assert!(usual.auc.unwrap() > 0.8 && usual.complete);

    let scan = world.scan("drift", 21, 26).await;
    let expected = ["psi prediction", "psi pages", "psi landing", "label_rate bought"]
        .map(|name| (name.to_owned(), "fail"));
    assert_eq!(said(&scan)[..4], expected);
    // Nobody bought, so nothing can be ranked.
    assert_eq!(said(&scan)[4], ("auc bought".to_owned(), "insufficient"));
    assert_eq!((scan.auc, scan.label_rate), (None, Some(0.0)));
    assert!(scan.mean_prediction.unwrap() > usual.mean_prediction.unwrap());
    assert_eq!((world.webhook.taken().len(), world.incidents("drift").await.len()), (1, 1));
    // `landing` is no input, so its reference is what the view said of the training rows.
    let landing = column(&world, "drift", 21, "landing").await;
    assert_eq!((&landing["rows_reference"], &landing["null_rate_reference"]), (&431.into(), &0.0.into()));
    let page = world.deps.blobs.get_at(&scan.report).await.unwrap();
    assert!(String::from_utf8_lossy(&page).contains("model buyer version 1"));
}

#[tokio::test]
async fn a_class_drifts_as_the_category_that_was_predicted() {
    let world = World::new().await;
    world.fill(&[visits(1, 21, usual), visits(21, 26, unusual)].concat()).await;
    world.train("chooser").await;
    let usual = world.scan("choices", 16, 21).await;
    assert_eq!(usual.status, Verdict::Ok, "{:#?}", usual.results);
    // Of two classes the second's probability ranks; a class has no mean.
    assert!(usual.auc.unwrap() > 0.8 && usual.mean_prediction.is_none());
    let prediction = column(&world, "choices", 16, "prediction").await;
    assert_eq!((&prediction["kind"], &prediction["bins"][0]["label"]), (&"category".into(), &"false".into()));

    let scan = world.scan("choices", 21, 26).await;
    let expected = [("psi prediction", "fail"), ("psi choice_true", "fail"), ("auc bought", "insufficient")];
    assert_eq!(said(&scan), expected.map(|(name, status)| (name.to_owned(), status)));
}

#[tokio::test]
async fn labels_that_come_late_are_restated_by_the_next_tick() {
    let world = World::new().await;
    world.fill(&visits(1, 27, usual)).await;
    world.train("buyer").await;

    // Half an hour after the window began no label can be in: that is nobody's fault.
    world.clock(day(17) + chrono::TimeDelta::minutes(30)).await;
    let early = world.scan("drift", 17, 22).await;
    assert_eq!((early.status, early.rows, early.complete), (Verdict::Insufficient, 0, false));
    assert!(early.results.last().unwrap().note.as_ref().unwrap().contains("2024-01-23"), "{early:#?}");
    assert!(world.incidents("drift").await.is_empty());

    // At its end those of the last day are missing.
    world.clock(day(22)).await;
    tick(&world, day(22)).await;
    let scan = world.scanned("drift", day(17)).await;
    assert_eq!((scan.rows, scan.complete), (193, false));
    assert_eq!(said(&scan)[0], ("psi prediction".to_owned(), "insufficient"));

    // Five days end on the 22nd and the 27th.
    tick(&world, day(24)).await;
    world.clock(day(27)).await;
    tick(&world, day(27)).await;
    let restated = world.scanned("drift", day(17)).await;
    assert_eq!((restated.rows, restated.complete, restated.status), (240, true, Verdict::Ok));
    assert_eq!(world.scanned("drift", day(22)).await.rows, 193);
}

#[tokio::test]
async fn a_model_that_nobody_serves_yet_is_not_watched() {
    let world = World::new().await;
    world.fill(&visits(1, 26, usual)).await;
    world.clock(day(22)).await;
    // No run fails for want of a champion.
    tick(&world, day(22)).await;
    assert_eq!(
        run_until_idle(world.store(), tidemill_monitor::jobs(&world.deps, &crate::world::webhooks()))
            .await
            .unwrap(),
        0
    );
}

#[tokio::test]
async fn the_auc_falls_when_the_labels_no_longer_follow_the_pages() {
    let world = World::new().await;
    let random = |number: i64| crate::world::Visit { bought: number % 5 < 2, ..usual(number) };
    world.fill(&[visits(1, 16, usual), visits(16, 21, random)].concat()).await;
    world.train("buyer").await;
    let scan = world.scan("drift", 16, 21).await;
    let auc = scan.results.iter().find(|result| result.check == "auc").unwrap();
    assert_eq!(auc.status, Verdict::Fail, "{auc:#?}");
    assert!(auc.value.unwrap() > 0.2 && said(&scan)[0].1 == "ok");
}

#[tokio::test]
async fn each_window_is_judged_by_the_version_that_was_champion_in_it() {
    let world = World::new().await;
    world.fill(&visits(1, 51, usual)).await;
    // One champion at noon of the 16th, the next at noon of the 31st.
    for to in [16, 31] {
        world.clock(day(to) + chrono::TimeDelta::hours(12)).await;
        world.train_to("buyer", to).await;
        if to == 16 {
            world.clock(day(22)).await;
            assert_eq!(world.scan("drift", 16, 21).await.version, Some(1));
        }
    }
    world.clock(day(61)).await;
    for (from, version, then) in [(11, 1, false), (16, 1, true), (26, 1, true), (31, 2, true), (36, 2, true)]
    {
        let scan = world.scan("drift", from, from + 5).await;
        assert_eq!((scan.version, scan.version_served), (Some(version), then), "from {from}");
        // A version is no judge of days that it was tried on.
        let auc = scan.results.iter().find(|result| result.check == "auc").unwrap();
        let learnt =
            auc.note.as_deref() == Some("the version was trained or evaluated on rows of this window");
        assert_eq!((learnt, auc.status == Verdict::Insufficient), (!then, !then), "from {from}: {auc:#?}");
    }
}

#[tokio::test]
async fn a_window_is_complete_when_its_rows_have_arrived_not_when_the_clock_has_passed() {
    let world = World::new().await;
    world.fill(&visits(1, 17, usual)).await;
    world.train("buyer").await;
    world.see(&visits(17, 40, usual)).await;
    // The clock stands weeks later, and half of the labels are still on their way.
    world.tell(&visits(17, 19, usual)).await;
    let scan = world.scan("drift", 17, 22).await;
    assert_eq!((scan.rows, scan.complete, scan.awaited), (96, false, vec!["outcomes".to_owned()]));
    let page = String::from_utf8(world.deps.blobs.get_at(&scan.report).await.unwrap().to_vec()).unwrap();
    assert!(page.contains("rows of outcomes may still arrive"));
    // The next tick makes the scan again.
    world.tell(&visits(19, 40, usual)).await;
    tick(&world, day(27)).await;
    let restated = world.scanned("drift", day(17)).await;
    assert_eq!((restated.rows, restated.complete, restated.awaited.len()), (240, true, 0));
}

#[tokio::test]
async fn a_file_that_is_being_ingested_is_waited_for() {
    let world = World::new().await;
    world.fill(&visits(1, 40, usual)).await;
    world.train("buyer").await;
    let upload = world.accept("outcomes").await;
    world.start("drift", day(17), day(22)).await;
    let driver = tidemill_testkit::Driver::new(
        world.store(),
        tidemill_monitor::jobs(&world.deps, &crate::world::webhooks()),
    );
    assert!(driver.one().await.unwrap());
    assert!(world.deps.catalog.scans("drift", None).await.unwrap().is_empty(), "it waits");
    world.publish(upload).await;
    driver.until_idle().await.unwrap();
    let scan = world.scanned("drift", day(17)).await;
    assert_eq!((scan.rows, scan.complete), (240, true));
    // One whose ingest has failed isn't waited for: the window is told to lack it.
    let failed = world.accept("visits").await;
    world.fail(failed).await;
    let scan = world.scan("drift", 22, 27).await;
    assert_eq!((scan.complete, scan.awaited), (false, vec!["visits".to_owned()]));
}

/// What the server does when a schedule is due.
async fn tick(world: &World, at: Time) {
    let schedules = world.store().schedules().await.unwrap();
    let schedule = schedules.iter().find(|schedule| schedule.name == "monitor/drift").unwrap();
    assert!(MonitorTicks::takes(schedule));
    let mut tx = world.store().begin().await.unwrap();
    MonitorTicks::new(world.deps.catalog.clone()).fire(&mut tx, schedule, at).await.unwrap();
    tx.commit().await.unwrap();
    run_until_idle(world.store(), tidemill_monitor::jobs(&world.deps, &crate::world::webhooks()))
        .await
        .unwrap();
    assert!(world.failures().await.is_empty(), "{:?}", world.failures().await);
}
