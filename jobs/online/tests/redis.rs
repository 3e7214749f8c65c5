//! Against a real Redis: puts in any order end in the same value, reads come in the order asked, and a Redis
//! that is away is an error and nothing worse.

use std::time::Duration;

use indexmap::IndexMap;
use proptest::prelude::*;
use tidemill_core::DataClock;
use tidemill_online::{
    Body, Entry, Error, LiveSet, LiveView, LiveViews, Online, OnlineOptions, OnlineView, Order, Read, Stored,
};
use tidemill_spec::{Feature, FeatureView, Meta, OnlineFeatures, Rule, Type, Value, ViewInput};
use tidemill_testkit::redis::{Server, prefix};

fn view() -> OnlineView {
    let feature = Feature { ty: Type::Int, rule: Rule::Last("delay".into()), default: None };
    let view = FeatureView {
        name: "load".into(),
        meta: Meta::default(),
        entity: "airport".into(),
        input: ViewInput::Source("departures".into()),
        ttl: None,
        features: IndexMap::from([("delay".to_owned(), feature)]),
        python: None,
        batch: false,
        timeout: None,
        online: OnlineFeatures::All,
        freshness: None,
        leak_allowed: false,
    };
    OnlineView::new(view, 3, IndexMap::from([("origin".to_owned(), Type::String)]), false)
}

async fn online() -> Online {
    let world = prefix().await.unwrap();
    Online::connect(&OnlineOptions { url: world.url, prefix: world.prefix }).unwrap()
}

fn entry(origin: &str, order: [i64; 3], delay: Option<i64>) -> Entry {
    let [first, second, third] = order;
    let body = delay.map_or(Body::Deleted, |delay| Body::Row(vec![Value::Int(delay)]));
    Entry {
        key: vec![Value::String(origin.into())],
        stored: Stored { order: Order { first, second, third }, body },
    }
}

async fn read(online: &Online, view: &OnlineView, origins: &[&str]) -> Vec<Option<Stored>> {
    let keys: Vec<_> = origins.iter().map(|origin| vec![Value::String((*origin).into())]).collect();
    let reads: Vec<_> = keys.iter().map(|key| Read { view, key }).collect();
    let found = online.read(&reads).await.unwrap();
    found.into_iter().map(|bytes| bytes.map(|bytes| Stored::decode(view, &bytes).unwrap())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    /// Orders around zero and the extremes, so that signs and carries are met.
    #[test]
    fn puts_in_any_order_end_in_the_newest(
        orders in prop::collection::btree_set(
            prop::array::uniform3(prop::sample::select(vec![i64::MIN, -256, -1, 0, 1, 255, 256, i64::MAX])), 1..8),
        shuffle in any::<prop::sample::Index>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (online, view) = (online().await, view());
            let mut entries: Vec<_> = orders.iter().enumerate()
                .map(|(index, order)| entry("JFK", *order, (index % 3 != 0).then_some(index as i64))).collect();
            let newest = entries.last().unwrap().stored.clone();
            let count = entries.len();
            entries.rotate_left(shuffle.index(count));
            for entry in &entries {
                online.put(&view, std::slice::from_ref(entry)).await.unwrap();
            }
            assert_eq!(read(&online, &view, &["JFK"]).await, [Some(newest)]);
        });
    }
}

#[tokio::test]
async fn an_equal_order_overwrites_and_an_older_one_does_not() {
    let (online, view) = (online().await, view());
    assert_eq!(online.put(&view, &[entry("JFK", [5, 0, 0], Some(1))]).await.unwrap(), 1);
    assert_eq!(online.put(&view, &[entry("JFK", [5, 0, 0], Some(2))]).await.unwrap(), 1);
    assert_eq!(online.put(&view, &[entry("JFK", [4, 9, 9], Some(3))]).await.unwrap(), 0);
    assert_eq!(
        read(&online, &view, &["JFK"]).await[0].as_ref().unwrap().body,
        Body::Row(vec![Value::Int(2)])
    );
}

#[tokio::test]
async fn many_values_are_written_in_batches_and_read_in_the_order_asked() {
    let (online, view) = (online().await, view());
    let names: Vec<String> = (0..2_345).map(|index| format!("airport/{index}")).collect();
    let entries: Vec<_> =
        names.iter().zip(0..).map(|(name, index)| entry(name, [1, 1, 1], Some(index))).collect();
    assert_eq!(online.put(&view, &entries).await.unwrap(), 2_345);
    let asked = ["airport/7", "nowhere", "airport/2344"];
    let found: Vec<_> =
        read(&online, &view, &asked).await.into_iter().map(|stored| stored.map(|s| s.body)).collect();
    assert_eq!(found, [Some(Body::Row(vec![Value::Int(7)])), None, Some(Body::Row(vec![Value::Int(2344)]))]);
    let null = [Value::Null];
    assert_eq!(online.read(&[Read { view: &view, key: &null }]).await.unwrap(), [None]);
    assert_eq!(online.drop_version("load", 3).await.unwrap(), 2_345);
    assert_eq!(read(&online, &view, &asked).await, [None, None, None]);
}

#[tokio::test]
async fn a_marker_never_moves_back_and_tells_layouts_apart() {
    let (online, view) = (online().await, view());
    online.begin_marker(&view).await.unwrap();
    for lake_version in [4, 9, 7] {
        assert!(online.mark(&view, 0, lake_version).await.unwrap());
    }
    online.begin_marker(&view).await.unwrap();
    let other = OnlineView::new(view.definition().clone(), 3, view.keys().clone(), true);
    let markers = online.markers().await.unwrap();
    assert_eq!((markers.held(&view), markers.outdated(&view)), (9, false));
    assert_eq!((markers.held(&other), markers.outdated(&other)), (0, true));
    online.drop_version("load", 3).await.unwrap();
    let markers = online.markers().await.unwrap();
    assert_eq!((markers.held(&view), markers.outdated(&other)), (0, false));
}

#[tokio::test]
async fn a_marker_that_was_lost_with_its_values_does_not_come_back_without_them() {
    let (online, view) = (online().await, view());
    online.begin_marker(&view).await.unwrap();
    assert!(online.mark(&view, 0, 4).await.unwrap());
    // Redis comes back empty while what follows 4 is written.
    online.drop_version(view.name(), view.version()).await.unwrap();
    assert!(!online.mark(&view, 4, 5).await.unwrap());
    assert_eq!(online.markers().await.unwrap().held(&view), 0);
    // Or as it was before 4.
    online.begin_marker(&view).await.unwrap();
    assert!(online.mark(&view, 0, 3).await.unwrap());
    assert!(!online.mark(&view, 4, 5).await.unwrap());
}

#[tokio::test]
async fn watchers_see_the_latest_live_set_and_an_earlier_publication_is_refused() {
    let online = online().await;
    let mut watched = online.watch_live(Duration::from_millis(5));
    assert_eq!(online.live().await.unwrap(), None);
    let mut live = LiveSet::default();
    let versions = IndexMap::from([(3, std::sync::Arc::new(view()))]);
    live.views.insert("load".into(), LiveView { current: 3, versions });
    assert!(online.publish_views(2, &live.views).await.unwrap());
    assert!(!online.publish_views(1, &LiveViews::default()).await.unwrap());
    assert!(online.publish_clock(1, &DataClock::Wall).await.unwrap());
    watched.changed().await.unwrap();
    assert_eq!(watched.borrow().as_deref(), Some(&live));
}

#[tokio::test]
async fn a_redis_that_is_away_is_an_error_and_its_return_needs_no_restart() {
    let mut server = Server::start().unwrap();
    let options = OnlineOptions { url: server.url(), prefix: "away".into() };
    let (online, view) = (Online::connect(&options).unwrap(), view());
    online.put(&view, &[entry("JFK", [1, 0, 0], Some(1))]).await.unwrap();
    server.stop();
    assert!(matches!(
        online.put(&view, &[entry("JFK", [2, 0, 0], Some(2))]).await,
        Err(Error::Unavailable(_))
    ));
    let key = [Value::String("JFK".into())];
    assert!(matches!(online.read(&[Read { view: &view, key: &key }]).await, Err(Error::Unavailable(_))));
    server.resume().unwrap();
    // The connection comes back on its own: the first calls may still meet the lost one.
    let mut answered = false;
    for _ in 0..50 {
        answered |= online.put(&view, &[entry("JFK", [3, 0, 0], Some(3))]).await.is_ok();
        if answered {
            break;
        }
    }
    assert!(answered);
    assert_eq!(
        read(&online, &view, &["JFK"]).await[0].as_ref().unwrap().body,
        Body::Row(vec![Value::Int(3)])
    );
}
