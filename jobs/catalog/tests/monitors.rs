//! Incidents of monitors against a real Postgres.

use serde_json::json;
use tidemill_catalog::Catalog;
use tidemill_core::{IncidentId, Time};
use tidemill_store::{DatabaseOptions, Store};
use tidemill_testkit::postgres::{Database, database};

async fn catalog() -> (Database, Catalog) {
    let database = database("catalog", async |database| {
        let store = Store::connect(&DatabaseOptions::new(&database.url))?;
        store.migrate().await?;
        Ok(Catalog::new(store).migrate().await?)
    });
    let database = database.await.unwrap();
    let store = Store::connect(&DatabaseOptions::new(&database.url)).unwrap();
    (database, Catalog::new(store))
}

fn first_of(month: u32) -> Time {
    format!("2013-{month:02}-01T00:00:00Z").parse().unwrap()
}

/// Writes down the scan of a month as the job does; a failing one's incident, and whether it is new.
async fn scan(catalog: &Catalog, month: u32, status: &str) -> Option<(IncidentId, bool)> {
    let window = (first_of(month), first_of(month + 1));
    let mut tx = catalog.store().begin().await.unwrap();
    let mut incident = None;
    if status == "fail" {
        incident = Some(catalog.open_incident(&mut tx, "drift", window, "psi x 0.4").await.unwrap());
        catalog.put_notification(&mut tx, incident.unwrap().0, "ops").await.unwrap();
    }
    catalog.put_scan(&mut tx, "drift", window, status, &json!({ "rows": 1 })).await.unwrap();
    if status == "ok" {
        catalog.close_incident(&mut tx, "drift", window).await.unwrap();
    }
    tx.commit().await.unwrap();
    incident
}

async fn states(catalog: &Catalog) -> Vec<String> {
    catalog.incidents(Some("drift")).await.unwrap().into_iter().map(|incident| incident.state).collect()
}

#[tokio::test]
async fn windows_that_go_on_failing_are_one_incident_until_two_are_clean() {
    let (_database, catalog) = catalog().await;
    let (first, new) = scan(&catalog, 1, "fail").await.unwrap();
    assert!(new);
    assert_eq!(scan(&catalog, 2, "fail").await, Some((first, false)));
    scan(&catalog, 3, "ok").await;
    assert_eq!(states(&catalog).await, ["open"]);
    scan(&catalog, 4, "ok").await;
    assert_eq!(states(&catalog).await, ["closed"]);
    // A window that was told of isn't told again; another one is.
    assert_eq!(scan(&catalog, 2, "fail").await, Some((first, false)));
    let (second, new) = scan(&catalog, 5, "fail").await.unwrap();
    assert!(new && second != first);
    assert_eq!(states(&catalog).await, ["open", "closed"]);
    assert_eq!(catalog.scans("drift", None).await.unwrap().len(), 5);
}

#[tokio::test]
async fn the_incident_of_a_monitor_that_is_declared_no_more_is_closed_and_says_why() {
    let (_database, catalog) = catalog().await;
    scan(&catalog, 1, "fail").await;
    for (declared, state) in [("drift", "open"), ("other", "closed")] {
        let mut tx = catalog.store().begin().await.unwrap();
        catalog.close_incidents_of_removed(&mut tx, &[declared.to_owned()]).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(states(&catalog).await, [state]);
    }
    let incident = &catalog.incidents(None).await.unwrap()[0];
    assert_eq!(incident.summary, "psi x 0.4 (the monitor was removed)");
}

#[tokio::test]
async fn a_window_scanned_again_may_clear_its_own_incident() {
    let (_database, catalog) = catalog().await;
    scan(&catalog, 1, "fail").await;
    scan(&catalog, 1, "ok").await;
    assert_eq!(states(&catalog).await, ["closed"]);
}

#[tokio::test]
async fn a_window_that_fails_once_more_opens_its_incident_again_unless_later_ones_are_clean() {
    let (_database, catalog) = catalog().await;
    let (incident, _) = scan(&catalog, 1, "fail").await.unwrap();
    scan(&catalog, 1, "ok").await;
    assert_eq!(scan(&catalog, 1, "fail").await, Some((incident, false)));
    assert_eq!(states(&catalog).await, ["open"]);
    for month in [2, 3] {
        scan(&catalog, month, "ok").await;
    }
    assert_eq!(states(&catalog).await, ["closed"]);
    assert_eq!(scan(&catalog, 1, "fail").await, Some((incident, false)));
    assert_eq!(states(&catalog).await, ["closed"]);
}

#[tokio::test]
async fn somebody_is_told_once() {
    let (_database, catalog) = catalog().await;
    let (incident, _) = scan(&catalog, 1, "fail").await.unwrap();
    assert!(!catalog.notified(incident, "ops").await.unwrap());
    let mut tx = catalog.store().begin().await.unwrap();
    catalog.set_notified(&mut tx, incident, "ops").await.unwrap();
    tx.commit().await.unwrap();
    assert!(catalog.notified(incident, "ops").await.unwrap());
    let found = catalog.incident(incident).await.unwrap().unwrap();
    assert_eq!((found.summary.as_str(), found.notified.len()), ("psi x 0.4", 1));
    assert_eq!(
        (found.notified[0].notifier.as_str(), found.notified[0].delivered_at.is_some()),
        ("ops", true)
    );
}
