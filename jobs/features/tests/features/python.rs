//! Views in user Python: values like any other, failures as dead letters with the user's own frames.

use tidemill_offline::{Read, Table};
use tidemill_rows::json_rows;
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

async fn world() -> World {
    World::with(&format!("{PROJECT}{VIEWS}"), &[("transforms/airport.py", CODE)]).await
}

#[tokio::test]
async fn rows_that_raise_become_dead_letters_and_the_others_are_served() {
    let world = world().await;
    world
        .depart(&[
            departure("JFK", 1, 580, 30.0),
            departure("JFK", 2, 590, -5.0),
            departure("EWR", 3, 590, 6.0),
        ])
        .await;
    world.drain().await;
    assert_eq!(world.now("judged", "JFK").await.values["late"], Value::Bool(true));
    assert_eq!(world.now("judged", "EWR").await.values["hours"], Value::Float(0.1));
    let head = world.deps.lake.head().await.unwrap();
    let table = Table::from("dead/view/judged".to_owned());
    let dead = json_rows(&world.deps.lake.read(&Read::all(table, head)).await.unwrap()).unwrap();
    assert_eq!(dead.len(), 1);
    assert!(dead[0]["reason"].as_str().unwrap().contains("a departure before its time"), "{dead:?}");
    assert!(dead[0]["raw"].as_str().unwrap().contains("\"flight\":2"), "{dead:?}");
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
