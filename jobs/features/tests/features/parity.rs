//! Online equals offline after anything that may happen.

use proptest::prelude::*;
use tidemill_features::behind;
use tidemill_spec::Value;

use crate::world::{Departure, World, at, departure};

#[derive(Clone, Debug)]
enum Event {
    Depart(Vec<Departure>),
    Observe(Vec<(&'static str, i64, f64)>),
    Clock(i64),
    Drain,
}

fn origin() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["JFK", "EWR", "LGA"])
}

/// Few flights and round minutes, so that corrections, ties and ends of windows are met.
fn one_departure() -> impl Strategy<Value = Departure> {
    let delay = prop::option::weighted(0.8, -20.0..300.0_f64);
    (origin(), 0..6_i64, 80..150_i64, delay, prop::bool::weighted(0.15)).prop_map(
        |(origin, flight, five, delay, gone)| Departure { origin, flight, minute: five * 5, delay, gone },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let observation =
        (origin(), 80..150_i64, 0.0..40.0_f64).prop_map(|(origin, five, wind)| (origin, five * 5, wind));
    prop_oneof![
        4 => prop::collection::vec(one_departure(), 1..5).prop_map(Event::Depart),
        2 => prop::collection::vec(observation, 1..4).prop_map(Event::Observe),
        2 => (120..170_i64).prop_map(|five| Event::Clock(five * 5)),
        2 => Just(Event::Drain),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 60, ..ProptestConfig::default() })]
    #[test]
    fn online_equals_offline_after_any_sequence_of_events(events in prop::collection::vec(event(), 1..10)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let mut clock = 600;
            for event in events {
                match event {
                    Event::Depart(departures) => world.depart(&departures).await,
                    Event::Observe(observations) => world.observe(&observations).await,
                    Event::Clock(minute) => {
                        clock = clock.max(minute);
                        world.clock(clock).await;
                    }
                    Event::Drain => world.drain().await,
                }
            }
            world.check_parity().await;
        });
    }
}

#[tokio::test]
async fn a_redis_that_lost_everything_is_written_again_from_the_lake() {
    let world = World::new().await;
    world.depart(&[departure("JFK", 1, 590, 10.0), departure("EWR", 2, 595, 5.0)]).await;
    world.observe(&[("JFK", 580, 3.0)]).await;
    world.drain().await;
    assert_eq!(behind(&world.deps).await.unwrap().len(), 0);
    for view in world.objects.views.keys() {
        world.deps.online.drop_version(view, 1).await.unwrap();
    }
    assert_eq!(world.now("newest", "JFK").await.values["delay"], Value::Float(-1.0));
    let wishes = behind(&world.deps).await.unwrap();
    assert_eq!(wishes.len(), 3, "what is computed when it is asked has nothing to lose");
    world.enqueue(wishes).await;
    world.drain().await;
    assert_eq!(behind(&world.deps).await.unwrap().len(), 0);
    assert_eq!(world.now("newest", "JFK").await.values["delay"], Value::Float(10.0));
    let entities: Vec<_> = world.check_parity().await.into_iter().map(|parity| parity.entities).collect();
    assert_eq!(entities, [2, 2, 1, 2]);
}

#[tokio::test]
async fn an_update_notices_by_itself_that_redis_lost_values() {
    let world = World::new().await;
    world.depart(&[departure("JFK", 1, 590, 10.0)]).await;
    world.drain().await;
    world.deps.online.drop_version("newest", 1).await.unwrap();
    world.depart(&[departure("EWR", 2, 595, 5.0)]).await;
    world.drain().await;
    assert_eq!(world.now("newest", "JFK").await.values["delay"], Value::Float(10.0));
}

#[tokio::test]
async fn what_redis_holds_beyond_a_database_that_came_back_older_is_taken_back() {
    let world = World::new().await;
    world.depart(&[departure("JFK", 1, 590, 10.0)]).await;
    world.observe(&[("JFK", 590, 3.0)]).await;
    world.drain().await;
    // What a later commit wrote, of which the database knows nothing.
    let version = world.deps.catalog.current_view("weather_now").await.unwrap().unwrap();
    let plan = version.plan;
    let online = tidemill_online::OnlineView::new(plan.definition, 1, plan.entity.keys, false);
    let head = world.deps.lake.head().await.unwrap();
    let order = tidemill_online::Order::row(at(595), at(595), 1);
    let body = tidemill_online::Body::Row(vec![Value::Float(99.0)]);
    let entry = |origin: &str| tidemill_online::Entry {
        key: vec![Value::String(origin.to_owned())],
        stored: tidemill_online::Stored { order, body: body.clone() },
    };
    world.deps.online.put(&online, &[entry("JFK"), entry("BOS")]).await.unwrap();
    assert!(world.deps.online.mark(&online, 1, head + 4).await.unwrap());
    assert_eq!(world.now("weather_now", "JFK").await.values["wind"], Value::Float(99.0));

    let wishes = behind(&world.deps).await.unwrap();
    assert_eq!(wishes.len(), 1);
    world.enqueue(wishes).await;
    world.drain().await;
    assert_eq!(world.now("weather_now", "JFK").await.values["wind"], Value::Float(3.0));
    assert_eq!(world.now("weather_now", "BOS").await.values["wind"], Value::Null);
    assert_eq!(behind(&world.deps).await.unwrap().len(), 0);
    world.check_parity().await;
}
