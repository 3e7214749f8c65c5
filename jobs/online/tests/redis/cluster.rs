//! A Cluster of its own: where values lie, and what happens when a primary goes.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use tidemill_online::{Body, Entry, Error, Online, OnlineOptions};
use tidemill_spec::Value;
use tidemill_testkit::redis::Cluster;

use crate::{entry, read, view};

const ENTITIES: i64 = 500;

/// A value for each entity, all of one order.
fn round(order: i64) -> Vec<Entry> {
    (0..ENTITIES).map(|entity| entry(&format!("airport/{entity}"), [order, 0, 0], Some(order))).collect()
}

async fn all_read(online: &Online, order: i64) {
    let names: Vec<String> = (0..ENTITIES).map(|entity| format!("airport/{entity}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for found in read(online, &view(), &names).await {
        assert_eq!(found.map(|stored| stored.body), Some(Body::Row(vec![Value::Int(order)])));
    }
}

fn connect(cluster: &Cluster) -> Online {
    Online::connect(&OnlineOptions::new(cluster.url(), "cluster")).unwrap()
}

#[tokio::test]
async fn values_are_spread_evenly_and_nothing_of_a_dropped_version_is_left_on_any_server() {
    let cluster = Cluster::start().await.unwrap();
    let online = connect(&cluster);
    online.begin_marker(&view()).await.unwrap();
    assert_eq!(online.put(&view(), &round(1)).await.unwrap(), ENTITIES.unsigned_abs());
    assert!(online.mark(&view(), 0, 1).await.unwrap());
    let sizes = cluster.sizes().await.unwrap();
    assert!(sizes.iter().all(|size| (20..=22).contains(size)), "values and markers of 32 shards: {sizes:?}");
    assert_eq!(online.drop_version("load", 3).await.unwrap(), ENTITIES.unsigned_abs());
    assert_eq!(cluster.keys().await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn a_primary_that_goes_under_writes_and_reads_costs_no_error() {
    let mut cluster = Cluster::start().await.unwrap();
    let (online, view) = (connect(&cluster), view());
    online.begin_marker(&view).await.unwrap();
    online.put(&view, &round(1)).await.unwrap();
    assert!(online.mark(&view, 0, 1).await.unwrap());
    let (stop, order) = (AtomicBool::new(false), AtomicI64::new(1));
    let writing = async {
        while !stop.load(Ordering::Relaxed) {
            let order = order.fetch_add(1, Ordering::Relaxed) + 1;
            online.put(&view, &round(order)).await.unwrap();
        }
    };
    let reading = async {
        while !stop.load(Ordering::Relaxed) {
            assert!(
                read(&online, &view, &["airport/0", "airport/1", "airport/2"])
                    .await
                    .iter()
                    .all(Option::is_some)
            );
        }
    };
    let breaking = async {
        // As an operator asks for it: what was acknowledged is there.
        cluster.change_places().await.unwrap();
        // And as it happens.
        cluster.stop_primary().await.unwrap();
        cluster.healed().await.unwrap();
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(writing, reading, breaking);
    let order = order.into_inner() + 1;
    online.put(&view, &round(order)).await.unwrap();
    all_read(&online, order).await;
    assert!(online.mark(&view, 1, 2).await.unwrap());
    assert_eq!(online.markers().await.unwrap().held(&view), 2);
}

#[tokio::test]
async fn what_one_server_has_lost_makes_the_version_lost() {
    let cluster = Cluster::start().await.unwrap();
    let (online, view) = (connect(&cluster), view());
    online.begin_marker(&view).await.unwrap();
    online.put(&view, &round(1)).await.unwrap();
    assert!(online.mark(&view, 0, 4).await.unwrap());
    assert!(!online.markers().await.unwrap().lost(&view, 4, 9));
    assert!(online.markers().await.unwrap().lost(&view, 4, 3), "the database came back older");
    cluster.flush_one().await.unwrap();
    assert!(online.markers().await.unwrap().lost(&view, 4, 9));
    // What is written next doesn't hide it.
    assert!(!online.mark(&view, 4, 5).await.unwrap());
    assert!(online.markers().await.unwrap().lost(&view, 5, 9));
}

#[tokio::test]
async fn one_server_and_a_cluster_are_not_taken_for_each_other() {
    let cluster = Cluster::start().await.unwrap();
    let one = cluster.url().replace("+cluster", "").split(',').next().unwrap().to_owned();
    let told = async |url: String| {
        let online = Online::connect(&OnlineOptions::new(url, "cluster")).unwrap();
        match online.put(&view(), &round(1)).await {
            Err(Error::Mismatch { mismatch, .. }) => mismatch,
            other => panic!("{other:?}"),
        }
    };
    assert!(told(one).await.contains("must begin with `redis+cluster`"));
    let server = tidemill_testkit::redis::Server::start().unwrap();
    let told = told(server.url().replace("redis://", "redis+cluster://")).await;
    assert!(told.contains("must begin without `+cluster`"), "{told}");
}
