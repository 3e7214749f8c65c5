//! Rows that come late, twice, ahead of time, or to be taken back.

use tidemill_offline::{CommitRange, Read, Table};
use tidemill_online::Status;
use tidemill_rows::json_rows;
use tidemill_spec::Value;

use crate::world::{Departure, PROJECT, World, at, departure};

#[tokio::test]
async fn the_newest_row_is_served_whatever_the_order_of_arrival() {
    let world = World::new().await;
    world.depart(&[departure("JFK", 1, 590, 10.0), departure("EWR", 2, 580, 3.0)]).await;
    world.drain().await;
    world.depart(&[departure("JFK", 3, 570, 99.0)]).await;
    world.drain().await;
    let jfk = world.now("newest", "JFK").await;
    assert_eq!((&jfk.values["delay"], &jfk.values["twice"]), (&Value::Float(10.0), &Value::Float(20.0)));
    assert_eq!((&jfk.values["minutes"], jfk.valid_at), (&Value::Float(10.0), Some(at(590))));
    // The late row is known to the past it belongs to.
    assert_eq!(world.as_of("newest", "JFK", 575).await.values["delay"], Value::Float(99.0));
    assert_eq!(world.now("newest", "LGA").await.status, Status::Absent);
}

#[tokio::test]
async fn many_small_commits_are_one_of_the_view_and_none_is_covered_twice() {
    let world = World::new().await;
    for flight in 1..=20 {
        world.depart(&[departure("JFK", flight, 500 + flight, 10.0)]).await;
    }
    world.drain().await;
    let table = Table::view("newest", 1);
    let commits = world.deps.lake.commits(&table, CommitRange::upto(i64::MAX)).await.unwrap();
    let told: Vec<_> = commits.iter().map(|commit| (commit.job_key.as_str(), commit.rows)).collect();
    assert!(matches!(told[..], [(key, 20)] if key.starts_with("commits ")), "{told:?}");
    world.depart(&[departure("JFK", 21, 590, 10.0)]).await;
    world.drain().await;
    let rows = world.deps.lake.read(&Read::all(table, i64::MAX)).await.unwrap();
    assert_eq!(rows.num_rows(), 21);
    world.check_parity().await;
}

/// The first fill was given up after its rows were published and before its position was moved.
#[tokio::test]
async fn what_a_fill_that_was_given_up_has_put_stays_when_the_next_goes_on() {
    let world = World::new().await;
    world.observe(&[("JFK", 590, 10.0)]).await;
    world.drain().await;
    let mut tx = world.deps.catalog.store().begin().await.unwrap();
    world.deps.catalog.forget_position(&mut tx, "weather_now", 1).await.unwrap();
    tx.commit().await.unwrap();
    world.observe(&[("EWR", 590, 3.0)]).await;
    world.drain().await;
    for (origin, wind) in [("JFK", 10.0), ("EWR", 3.0)] {
        let now = world.now("weather_now", origin).await;
        assert_eq!(now.values["wind"], Value::Float(wind), "{origin}");
    }
    world.check_parity().await;
}

#[tokio::test]
async fn a_correction_wins_and_a_deletion_leaves_the_default() {
    let world = World::new().await;
    world.depart(&[departure("JFK", 1, 590, 10.0)]).await;
    world.drain().await;
    world.depart(&[departure("JFK", 1, 590, 11.0)]).await;
    world.drain().await;
    assert_eq!(world.now("newest", "JFK").await.values["delay"], Value::Float(11.0));
    assert_eq!(world.now("load", "JFK").await.values["flights_2h"], Value::Int(1));
    world.depart(&[Departure { gone: true, ..departure("JFK", 1, 591, 0.0) }]).await;
    world.drain().await;
    let gone = world.now("newest", "JFK").await;
    assert_eq!((gone.status, &gone.values["delay"]), (Status::Absent, &Value::Float(-1.0)));
    let load = world.now("load", "JFK").await;
    assert_eq!((&load.values["flights_2h"], &load.values["mean_2h"]), (&Value::Int(0), &Value::Null));
    world.check_parity().await;
}

#[tokio::test]
async fn a_row_ahead_of_its_time_waits_for_the_clock() {
    let world = World::new().await;
    world.depart(&[departure("JFK", 1, 590, 10.0), departure("JFK", 2, 630, 20.0)]).await;
    world.drain().await;
    assert_eq!(world.now("newest", "JFK").await.values["delay"], Value::Float(10.0));
    assert_eq!(world.now("load", "JFK").await.values["flights_2h"], Value::Int(1));
    assert_eq!(world.as_of("newest", "JFK", 640).await.values["delay"], Value::Float(20.0));
    world.clock(629).await;
    world.drain().await;
    assert_eq!(world.now("newest", "JFK").await.values["delay"], Value::Float(10.0));
    world.clock(630).await;
    world.drain().await;
    assert_eq!(world.now("newest", "JFK").await.values["delay"], Value::Float(20.0));
    assert_eq!(world.now("load", "JFK").await.values["flights_2h"], Value::Int(2));
    world.check_parity().await;
}

#[tokio::test]
async fn windows_forget_without_new_events_and_ttl_expires() {
    let world = World::new().await;
    world.depart(&[departure("JFK", 1, 500, 10.0), departure("JFK", 2, 590, 30.0)]).await;
    world.drain().await;
    let load = world.now("load", "JFK").await;
    assert_eq!(
        (&load.values["mean_2h"], &load.values["worst_13h"]),
        (&Value::Float(20.0), &Value::Float(30.0))
    );
    world.clock(640).await;
    world.drain().await;
    assert_eq!(world.now("load", "JFK").await.values["mean_2h"], Value::Float(30.0));
    world.clock(711).await;
    world.drain().await;
    let expired = world.now("newest", "JFK").await;
    assert_eq!((expired.status, &expired.values["delay"]), (Status::Expired, &Value::Float(-1.0)));
    world.check_parity().await;
}

#[tokio::test]
async fn a_late_row_shows_in_a_derived_view_at_every_later_moment() {
    let world = World::new().await;
    world.depart(&[departure("JFK", 1, 540, 10.0), departure("JFK", 2, 560, 20.0)]).await;
    world.observe(&[("JFK", 550, 2.0)]).await;
    world.drain().await;
    assert_eq!(world.now("stress", "JFK").await.values["stress"], Value::Float(40.0));
    world.depart(&[departure("JFK", 3, 530, 50.0)]).await;
    world.drain().await;
    assert_eq!(world.now("stress", "JFK").await.values["stress"], Value::Float(100.0));
    assert_eq!(world.as_of("stress", "JFK", 555).await.values["stress"], Value::Float(100.0));
    assert_eq!(world.as_of("stress", "JFK", 545).await.values["stress"], Value::Null);
    world.check_parity().await;
}

#[tokio::test]
async fn a_derived_view_decays_with_its_windows_and_has_no_history_of_its_own() {
    let world = World::new().await;
    world.depart(&[departure("JFK", 1, 590, 10.0)]).await;
    world.observe(&[("JFK", 590, 2.0)]).await;
    world.drain().await;
    let stress = world.now("stress", "JFK").await;
    assert_eq!((&stress.values["stress"], stress.valid_at), (&Value::Float(20.0), Some(at(590))));
    // Nothing happens but that time passes: the weather's ttl ends.
    world.clock(590 + 181).await;
    assert_eq!(world.now("stress", "JFK").await.values["stress"], Value::Null);
    assert_eq!(world.as_of("stress", "JFK", 590 + 180).await.values["stress"], Value::Float(20.0));
    world.observe(&[("JFK", 1400, 3.0)]).await;
    world.clock(1400).await;
    world.drain().await;
    // The window of 13 hours holds no departure any more.
    assert_eq!(world.now("stress", "JFK").await.values["stress"], Value::Null);
    let entity = serde_json::json!({ "origin": "JFK" }).as_object().unwrap().clone();
    let error = tidemill_features::history(&world.deps, "stress", &entity, 10).await.unwrap_err();
    assert!(error.to_string().contains("computed whenever it is asked"), "{error}");
    world.check_parity().await;
}

#[tokio::test]
async fn the_history_of_an_entity_tells_what_was_known_when() {
    let world = World::new().await;
    world.depart(&[departure("JFK", 1, 590, 10.0)]).await;
    world.drain().await;
    world.depart(&[departure("JFK", 1, 590, 11.0), departure("EWR", 2, 591, 1.0)]).await;
    world.drain().await;
    let entity = serde_json::json!({ "origin": "JFK" }).as_object().unwrap().clone();
    let history = tidemill_features::history(&world.deps, "newest", &entity, 10).await.unwrap();
    let delays: Vec<_> = history.iter().map(|row| row["delay"].as_f64().unwrap()).collect();
    assert_eq!(delays, [10.0, 11.0]);
}

#[tokio::test]
async fn freshness_tells_age_and_what_is_left_to_do() {
    let world = World::new().await;
    world.depart(&[departure("JFK", 1, 590, 10.0), departure("JFK", 2, 900, 10.0)]).await;
    let report = tidemill_features::freshness(&world.deps).await.unwrap();
    let of = |name: &str| report.iter().find(|view| view.view == name).unwrap().clone();
    assert_eq!((of("newest").status, of("newest").commits_behind), ("catching up", 1));
    assert_eq!(of("stress").status, "catching up", "so does what is computed from it");
    let waiting = of("newest").backlog.unwrap();
    assert!(waiting.commits == 1 && waiting.seconds >= 0.0, "{waiting:?}");
    world.drain().await;
    let report = tidemill_features::freshness(&world.deps).await.unwrap();
    let newest = report.iter().find(|view| view.view == "newest").unwrap();
    assert_eq!((newest.newest_at, newest.age_seconds), (Some(at(590)), Some(600.0)));
    assert_eq!((newest.status, newest.commits_behind), ("fresh", 0));
}

const ROOTS: &str = r#"
---
apiVersion: tidemill/v1
kind: FeatureView
name: roots
entity: airport
source: departures
features: { root: { type: float, sql: sqrt(delay) }, number: { type: int, sql: flight } }
online: true
---
apiVersion: tidemill/v1
kind: FeatureView
name: rooted
entity: airport
inputs: [newest]
features: { rooted: { type: float, sql: ln(twice) } }
online: true
"#;

#[tokio::test]
async fn rows_that_sql_fails_on_become_dead_letters_and_null_and_the_others_are_served() {
    let world = World::with(&format!("{PROJECT}{ROOTS}"), &[]).await;
    let gone = Departure { gone: true, ..departure("LGA", 4, 590, -4.0) };
    world.depart(&[departure("JFK", 1, 580, 9.0), departure("JFK", 2, 590, -4.0), gone]).await;
    world.depart(&[departure("EWR", 3, 590, 16.0)]).await;
    world.drain().await;
    let roots = world.now("roots", "JFK").await;
    assert_eq!((&roots.values["root"], &roots.values["number"]), (&Value::Null, &Value::Int(2)));
    assert_eq!(world.as_of("roots", "JFK", 585).await.values["root"], Value::Float(3.0));
    assert_eq!(world.now("roots", "EWR").await.values["root"], Value::Float(4.0));
    assert_eq!(world.now("rooted", "JFK").await.values["rooted"], Value::Null);
    assert_eq!(world.as_of("rooted", "JFK", 585).await.values["rooted"], Value::Float(18.0_f64.ln()));
    let head = world.deps.lake.head().await.unwrap();
    let dead = async |view: &str| {
        let table = Table::from(format!("dead/view/{view}"));
        json_rows(&world.deps.lake.read(&Read::all(table, head)).await.unwrap()).unwrap()
    };
    let [one] = &dead("roots").await[..] else { panic!("one row of `roots` fails") };
    let reason = "feature `root`: Out of Range Error: cannot take square root of a negative number";
    assert_eq!(one["reason"], reason);
    assert!(one["raw"].as_str().unwrap().contains("\"flight\":2"), "{one:?}");
    // Nothing is stored of what is computed when it is asked, so no row of it can be dead.
    assert!(dead("rooted").await.is_empty());
    world.check_parity().await;
}

const RELATIVE: &str = r#"---
apiVersion: tidemill/v1
kind: FeatureView
name: relative
entity: airport
source: departures
features:
  late_2h: { type: int, count: "*", where: ln(delay) > 3, window: 2h }
  roots_2h: { type: float, sum: sqrt(delay), window: 2h }
  flights_2h: { type: int, count: "*", window: 2h }
online: true
"#;

#[tokio::test]
async fn rows_that_sql_of_a_window_fails_on_do_not_count_in_it_and_become_dead_letters_once() {
    let world = World::with(&format!("{PROJECT}{RELATIVE}"), &[]).await;
    let gone = Departure { gone: true, ..departure("LGA", 4, 590, -4.0) };
    world.depart(&[departure("JFK", 1, 580, 100.0), departure("JFK", 2, 590, -4.0), gone]).await;
    world.depart(&[departure("EWR", 3, 590, 4.0)]).await;
    world.drain().await;
    // An update that computes the same rows again tells nothing again.
    world.depart(&[departure("JFK", 5, 595, 25.0)]).await;
    world.drain().await;
    let now = world.now("relative", "JFK").await;
    for jfk in [now, world.as_of("relative", "JFK", 600).await] {
        assert_eq!(jfk.values["late_2h"], Value::Int(2));
        assert_eq!(jfk.values["roots_2h"], Value::Float(15.0));
        assert_eq!(jfk.values["flights_2h"], Value::Int(3));
    }
    assert_eq!(world.now("relative", "EWR").await.values["late_2h"], Value::Int(0));
    let head = world.deps.lake.head().await.unwrap();
    let table = Table::from("dead/view/relative".to_owned());
    let dead = json_rows(&world.deps.lake.read(&Read::all(table, head)).await.unwrap()).unwrap();
    let [one] = &dead[..] else { panic!("{dead:?}") };
    assert_eq!(
        one["reason"],
        "feature `late_2h`, `roots_2h`: Out of Range Error: cannot take logarithm of a negative number"
    );
    assert!(one["raw"].as_str().unwrap().contains("\"flight\":2"), "{one:?}");
    world.check_parity().await;
}
