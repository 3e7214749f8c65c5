//! Sources and views: quality, drift, freshness, volume; incidents from the first bad window to the second clean one.

use chrono::TimeDelta;
use tidemill_monitor::Verdict;
use tidemill_testkit::run_until_idle;

use crate::world::{Visit, World, column, day, said, unusual, usual, visits};

fn with_nulls(number: i64) -> Visit {
    Visit { pages: usual(number).pages.filter(|_| number % 4 > 0), ..usual(number) }
}

#[tokio::test]
async fn an_incident_lasts_from_the_first_failing_window_to_the_second_clean_one() {
    let world = World::new().await;
    world.fill(&[visits(1, 16, usual), visits(16, 21, with_nulls), visits(21, 36, usual)].concat()).await;
    let first = world.scan("quality", 16, 21).await;
    assert_eq!(
        (first.status, first.rows, first.rows_reference, first.complete),
        (Verdict::Fail, 240, 720, true)
    );
    let results = said(&first);
    assert_eq!(
        results[2..],
        [("null_rate pages".into(), "fail"), ("freshness visits".into(), "ok"), ("volume".into(), "ok")]
    );
    assert_eq!(first.results[2].value, Some(0.25));
    assert_eq!(results[1].1, "ok");

    // The same window again: the same figures, one incident, told once.
    let again = world.scan("quality", 16, 21).await;
    assert_eq!(again, first);
    let [incident] = &world.incidents("quality").await[..] else { panic!("one incident") };
    assert_eq!((Some(incident.id), incident.state.as_str()), (first.incident, "open"));
    assert!(incident.summary.contains("null_rate pages 0.2500 (limit 0.0200)"), "{}", incident.summary);
    assert_eq!(world.webhook.taken().len(), 1);

    let clean = world.scan("quality", 21, 26).await;
    assert_eq!((clean.status, clean.incident), (Verdict::Ok, None));
    assert_eq!(world.incidents("quality").await[0].state, "open");
    world.scan("quality", 26, 31).await;
    assert_eq!(world.incidents("quality").await[0].state, "closed");
    assert_eq!(world.webhook.taken().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_judged_and_what_is_above_a_warning_close_no_incident() {
    let world = World::new().await;
    let infinite = |number: i64| Visit { pages: Some(f64::INFINITY), ..usual(number) };
    let more = |number: i64| Visit { pages: unusual(number).pages, ..usual(number) };
    let days = [visits(1, 16, usual), visits(16, 21, infinite), visits(21, 31, more), visits(31, 46, usual)];
    world.fill(&days.concat()).await;

    let first = world.scan("tolerant", 16, 21).await;
    let defects = first.results.iter().find(|result| result.check == "defects").unwrap();
    assert_eq!((first.status, defects.column.as_str(), defects.value), (Verdict::Fail, "pages", Some(1.0)));
    let note = defects.note.as_ref().unwrap();
    assert!(
        note.starts_with("infinite in 240 rows, the first is row 1: {") && note.contains("\"visit\":720"),
        "{note}"
    );
    assert!(first.incident.is_some());
    let page = String::from_utf8(world.deps.blobs.get_at(&first.report).await.unwrap().to_vec()).unwrap();
    assert!(page.contains("Defects") && page.contains("infinite in 240 rows"));

    // Two windows above the warning, two of too few rows, and then two clean ones.
    use Verdict::{Insufficient, Ok, Warn};
    for (from, to, status, state) in [
        (21, 26, Warn, "open"),
        (26, 31, Warn, "open"),
        (31, 32, Insufficient, "open"),
        (32, 33, Insufficient, "open"),
        (33, 38, Ok, "open"),
        (38, 43, Ok, "closed"),
    ] {
        assert_eq!(world.scan("tolerant", from, to).await.status, status, "from {from}");
        assert_eq!(world.incidents("tolerant").await[0].state, state, "from {from}");
    }
    assert_eq!((world.incidents("tolerant").await.len(), world.webhook.taken().len()), (1, 1));
}

#[tokio::test]
async fn each_scan_leaves_a_page_that_needs_nothing_else() {
    let world = World::new().await;
    world.fill(&[visits(1, 16, usual), visits(16, 21, unusual)].concat()).await;
    let scan = world.scan("quality", 16, 21).await;
    assert!(scan.report.starts_with("reports/quality/2024-01-16T0000_"), "{}", scan.report);
    let page = String::from_utf8(world.deps.blobs.get_at(&scan.report).await.unwrap().to_vec()).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.len() < 300_000);
    for foreign in ["http://", "https://", "<script", "<link", "url("] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    for shown in [
        "quality",
        "badge fail",
        "source visits",
        "2024-01-16 00:00 to 2024-01-21 00:00 UTC",
        "<svg",
        "(unseen)",
    ] {
        assert!(page.contains(shown), "{shown}");
    }
    let landing = column(&world, "quality", 16, "landing").await;
    assert_eq!((&landing["unseen_rate"], &landing["kind"]), (&1.0.into(), &"category".into()));
}

#[tokio::test]
async fn above_warn_is_shown_and_only_above_fail_opens_an_incident() {
    let world = World::new().await;
    world.fill(&[visits(1, 16, usual), visits(16, 21, unusual)].concat()).await;
    let scan = world.scan("tolerant", 16, 21).await;
    // A figure that reaches its limit is still within it: the JS of what was never seen is 1.
    assert_eq!(said(&scan), [("ks pages".into(), "warn"), ("js landing".into(), "ok")]);
    assert_eq!((scan.status, scan.incident), (Verdict::Warn, None));
    assert!(world.incidents("tolerant").await.is_empty() && world.webhook.asked().is_empty());
}

#[tokio::test]
async fn a_window_without_rows_is_an_alert_and_one_that_has_not_begun_a_mistake() {
    let world = World::new().await;
    world.fill(&visits(1, 16, usual)).await;
    let silent = world.scan("tolerant", 31, 36).await;
    assert_eq!(silent.status, Verdict::Fail);
    assert_eq!(
        said(&silent),
        [
            ("ks pages".into(), "insufficient"),
            ("js landing".into(), "insufficient"),
            ("volume".into(), "fail")
        ]
    );
    assert_eq!(world.incidents("tolerant").await[0].summary, "volume 0 rows (at least 1 rows)");
    assert_eq!(world.webhook.taken().len(), 1);

    world.start("tolerant", day(70), day(75)).await;
    run_until_idle(world.store(), tidemill_monitor::jobs(&world.deps, &crate::world::webhooks()))
        .await
        .unwrap();
    let [fault] = &world.failures().await[..] else { panic!("one failure") };
    assert_eq!(fault.code.unwrap().to_string(), "TM0907", "{fault}");
    assert_eq!(world.deps.catalog.scans("tolerant", None).await.unwrap().len(), 1);
}

#[tokio::test]
async fn freshness_is_asked_at_the_window_s_end_or_the_data_clock_within_it() {
    let world = World::new().await;
    world.fill(&visits(1, 20, usual)).await;
    let freshness = async |now| {
        world.clock(now).await;
        let scan = world.scan("quality", 16, 21).await;
        let result = scan.results.into_iter().find(|result| result.check == "freshness").unwrap();
        (result.value.unwrap(), result.status, scan.complete)
    };
    // The newest row is of 23:30 on the 19th.
    assert_eq!(freshness(day(20) + TimeDelta::minutes(30)).await, (3600.0, Verdict::Ok, false));
    assert_eq!(freshness(day(20) + TimeDelta::hours(3)).await, (12_600.0, Verdict::Fail, false));
    // The source stood still before the window's end, so rows of it may still come.
    assert_eq!(freshness(day(61)).await, (88_200.0, Verdict::Fail, false));
    // What the clock has not reached doesn't count, though it is in the lake.
    assert_eq!(freshness(day(18)).await, (1800.0, Verdict::Ok, false));
    assert_eq!(world.scanned("quality", day(16)).await.rows, 96);
}

#[tokio::test]
async fn a_view_of_windows_is_watched_as_serving_would_have_it() {
    let world = World::new().await;
    world.fill(&[visits(1, 16, usual), visits(16, 21, unusual)].concat()).await;
    let scan = world.scan("load", 16, 21).await;
    assert_eq!(said(&scan), [("psi pages_6h".into(), "fail"), ("psi visits_6h".into(), "ok")]);
    // A visit every half hour: twelve in any six hours, thirteen where the tail is floored to its hop.
    let visits = column(&world, "load", 16, "visits_6h").await;
    let (min, max) = (&visits["spread_current"]["min"], &visits["spread_current"]["max"]);
    assert!(
        (12.0..=13.0).contains(&min.as_f64().unwrap()) && (12.0..=13.0).contains(&max.as_f64().unwrap()),
        "{visits}"
    );
    let pages = column(&world, "load", 16, "pages_6h").await;
    let (before, now) = (&pages["spread_reference"]["mean"], &pages["spread_current"]["mean"]);
    assert!(
        (before.as_f64().unwrap() - 4.5).abs() < 0.1 && (now.as_f64().unwrap() - 7.5).abs() < 0.2,
        "{pages}"
    );
    assert_eq!((&pages["rows_current"], &pages["null_rate_current"]), (&240.into(), &0.0.into()));
}
