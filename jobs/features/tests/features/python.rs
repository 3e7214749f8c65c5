//! Views in user Python: values like any other, failures as dead letters with the user's own frames.

use tidemill_features::dead_letters;
use tidemill_spec::Value;

use crate::world::{PROJECT, World, departure};

const VIEWS: &str = r#"
---
apiVersion: tidemill/v1
kind: FeatureView
name: judged
entity: airport
source: departures
python: transforms.airport:judge
features: { late: bool, hours: float }
online: true
---
apiVersion: tidemill/v1
kind: FeatureView
name: strain
entity: airport
inputs: [load, weather_now]
python: transforms.airport:strain
features: { strain: float }
online: true
"#;

const CODE: &str = r#"
def judge(row: dict) -> dict:
    if row["delay"] < 0:
        raise ValueError("a departure before its time")
    return {"late": row["delay"] > 15, "hours": row["delay"] / 60}


def strain(row: dict) -> dict:
    known = row["mean_2h"] is not None and row["wind"] is not None
    return {"strain": row["mean_2h"] * row["wind"] if known else None}
"#;

const HARM: &str = r#"
import os
import time


def harm(row: dict) -> dict:
    print("departure", row["flight"])
    if row["flight"] == 2:
        time.sleep(3600)
    if row["flight"] == 3:
        bytearray(64 << 30)
    if row["flight"] == 4:
        os._exit(7)
    return {"flight": row["flight"]}
"#;

const HARMED: &str = r#"
---
apiVersion: tidemill/v1
kind: FeatureView
name: harmed
entity: airport
source: departures
python: transforms.airport:harm
timeout: 1s
features: { flight: int }
online: true
"#;

async fn world() -> World {
    World::with(&format!("{PROJECT}{VIEWS}"), &[("transforms/airport.py", CODE)]).await
}

#[tokio::test]
async fn rows_that_raise_become_dead_letters_and_null_and_the_others_are_served() {
    let world = world().await;
    world
        .depart(&[
            departure("JFK", 1, 580, 30.0),
            departure("JFK", 2, 590, -5.0),
            departure("EWR", 3, 590, 6.0),
        ])
        .await;
    world.drain().await;
    assert_eq!(world.as_of("judged", "JFK", 585).await.values["late"], Value::Bool(true));
    assert_eq!(world.now("judged", "JFK").await.values["late"], Value::Null);
    assert_eq!(world.now("judged", "EWR").await.values["hours"], Value::Float(0.1));
    let dead = dead_letters(&world.deps, "judged", 10).await.unwrap();
    let [letter] = &dead.newest[..] else { panic!("{dead:?}") };
    assert!(letter.reason.contains("a departure before its time"), "{dead:?}");
    assert_eq!((dead.count, letter.version, &letter.row["flight"]), (1, 1, &2.into()));
    world.check_parity().await;
}

#[tokio::test]
async fn rows_that_hang_eat_memory_or_kill_become_dead_letters_and_the_others_are_served() {
    let world = World::with(&format!("{PROJECT}{HARMED}"), &[("transforms/airport.py", HARM)]).await;
    world.depart(&[1, 2, 3, 4, 5].map(|flight| departure("JFK", flight, 580 + flight, 1.0))).await;
    world.drain().await;
    assert_eq!(world.now("harmed", "JFK").await.values["flight"], Value::Int(5));
    let dead = dead_letters(&world.deps, "harmed", 10).await.unwrap().newest;
    let reasons: Vec<_> = dead.iter().map(|letter| letter.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "the Python process ended: exit code 7",
            "user code used more memory than its limit of 2048 MiB",
            "user code took longer than its limit of 1 s and was killed",
        ]
    );
    let log = world.log().await;
    assert!(log.contains(&"departure 1".to_owned()) && log.contains(&"departure 5".to_owned()), "{log:?}");
    let said = "3 rows became dead letters, the first of them";
    assert!(log.iter().any(|line| line.starts_with(said) && line.contains("[TM0703]")), "{log:?}");
    world.check_parity().await;
}

#[tokio::test]
async fn a_derived_view_in_python_follows_its_inputs() {
    let world = world().await;
    world.depart(&[departure("JFK", 1, 580, 30.0)]).await;
    world.observe(&[("JFK", 585, 2.0)]).await;
    world.drain().await;
    assert_eq!(world.now("strain", "JFK").await.values["strain"], Value::Float(60.0));
    world.depart(&[departure("JFK", 2, 570, 10.0)]).await;
    world.drain().await;
    assert_eq!(world.now("strain", "JFK").await.values["strain"], Value::Float(40.0));
    world.check_parity().await;
}
