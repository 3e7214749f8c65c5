//! Against a real Redis, one server and a Cluster: puts in any order end in the same value, reads come in the order asked,
//! and a Redis that is away is an error and nothing worse.

mod cluster;
mod tls;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use indexmap::IndexMap;
use proptest::prelude::*;
use tidemill_core::{DataClock, Time};
use tidemill_online::{
    Body, Entry, Error, Held, LiveModel, LiveModelVersion, LiveSet, LiveSplit, LiveView, Online,
    OnlineOptions, OnlineView, Order, Read, Replica, Seen, Series, Stored, Tile, TileOrder,
};
use tidemill_spec::{
    Aggregate, Feature, FeatureView, Hydration, Meta, OnlineFeatures, PredictionLog, Rule, Type, Value,
    ViewInput,
};
use tidemill_testkit::redis::{Cluster, Server, connection, prefix};
use tidemill_windows::Partial;
use tokio::sync::OnceCell;

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

/// Counts of the last ten hours in tiles of an hour, and of the last ten minutes in tiles of a minute.
fn windows() -> OnlineView {
    let counted = |window: u64, hop: u64| Feature {
        ty: Type::Int,
        rule: Rule::Window {
            aggregate: Aggregate::Count,
            of: None,
            condition: None,
            window: Duration::from_secs(window),
            hop: Duration::from_secs(hop),
        },
        default: None,
    };
    let features = [("long", counted(36_000, 3_600)), ("short", counted(600, 60))];
    let features = features.into_iter().map(|(name, feature)| (name.to_owned(), feature)).collect();
    let definition = FeatureView { features, ..view().definition().clone() };
    OnlineView::new(definition, 3, view().keys().clone(), false)
}

fn hour(hours: i64) -> Time {
    Time::from_timestamp(hours * 3_600, 0).unwrap()
}

/// What one computation says of an entity: by series and tile how many rows, as of an order.
#[derive(Clone, Debug)]
struct Write {
    order: TileOrder,
    tiles: BTreeMap<(usize, i64), i64>,
}

impl Write {
    fn entry(&self) -> Entry {
        let mut series = vec![Series::default(); 2];
        for ((place, index), rows) in &self.tiles {
            let newest = (*rows > 0).then_some(self.order.clock);
            let partials = vec![Partial { rows: *rows, value: Value::Null }];
            series[*place].tiles.push(Tile { index: *index, order: self.order, newest, partials });
        }
        Entry {
            key: vec![Value::String("JFK".into())],
            stored: Stored { order: Order::TILES, body: Body::Tiles(series) },
        }
    }
}

/// Minutes come first: the shortest hop does.
fn writes() -> impl Strategy<Value = Vec<Write>> {
    let place = prop_oneof![(Just(0_usize), -2..660_i64), (Just(1_usize), -2..11_i64)];
    let tiles = prop::collection::btree_map(place, 0..3_i64, 0..6);
    let write = (0..4_i64, 0..12_i64, tiles).prop_map(|(lake_version, clock, tiles)| Write {
        order: TileOrder { lake_version, clock: hour(clock) },
        tiles,
    });
    prop::collection::vec(write, 1..8)
}

/// A prefix of its own on one server, and on a Cluster.
async fn both() -> [Online; 2] {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    let cluster = CLUSTER.get_or_init(async || Cluster::start().await.unwrap()).await;
    let world = prefix().await.unwrap();
    [world.url, cluster.url()].map(|url| Online::connect(&OnlineOptions::new(url, &world.prefix)).unwrap())
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
            for online in both().await {
            let view = view();
            let mut entries: Vec<_> = orders.iter().enumerate()
                .map(|(index, order)| entry("JFK", *order, (index % 3 != 0).then_some(index as i64))).collect();
            let newest = entries.last().unwrap().stored.clone();
            let count = entries.len();
            entries.rotate_left(shuffle.index(count));
            for entry in &entries {
                online.put(&view, std::slice::from_ref(entry)).await.unwrap();
            }
            assert_eq!(read(&online, &view, &["JFK"]).await, [Some(newest)]);
            }
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Whatever comes late or twice: of each tile the newest is kept, what is equally new overwrites, and nothing goes that a
    /// window may still need.
    #[test]
    fn each_tile_is_the_newest_of_its_own_in_whatever_order_they_come(writes in writes()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for online in both().await {
            let view = windows();
            let mut kept: BTreeMap<(usize, i64), (TileOrder, i64)> = BTreeMap::new();
            let mut latest = hour(-100);
            for write in &writes {
                online.put(&view, &[write.entry()]).await.unwrap();
                for (place, rows) in &write.tiles {
                    latest = latest.max(write.order.clock);
                    let known = kept.entry(*place).or_insert((write.order, *rows));
                    if write.order >= known.0 {
                        *known = (write.order, *rows);
                    }
                }
            }
            let found = match read(&online, &view, &["JFK"]).await.remove(0).map(|stored| stored.body) {
                Some(Body::Tiles(series)) => series,
                None => vec![Series::default(); 2],
                other => panic!("{other:?}"),
            };
            let found: Vec<_> = found.iter().enumerate().flat_map(|(place, series)| {
                series.tiles.iter().map(move |tile| ((place, tile.index), (tile.order, tile.partials[0].rows)))
            }).collect();
            assert!(found.is_sorted_by_key(|(place, _)| *place), "{found:?}");
            let found: BTreeMap<_, _> = found.into_iter().collect();
            let needed = |(place, index): (usize, i64)| {
                let (window, hop) = if place == 0 { (600, 60) } else { (36_000, 3_600) };
                index >= (latest.timestamp() - window).div_euclid(hop)
            };
            // What went because nothing needs it may come back with a late writer, and nothing needs it then.
            for place in kept.keys().chain(found.keys()).filter(|place| needed(**place)) {
                assert_eq!(found.get(place), kept.get(place), "{place:?}");
            }
            }
        });
    }
}

#[tokio::test]
async fn tiles_that_no_window_reaches_any_more_go_and_values_of_another_layout_are_nothing() {
    for online in both().await {
        let view = windows();
        let write = |clock, index, rows| Write {
            order: TileOrder { lake_version: 1, clock: hour(clock) },
            tiles: BTreeMap::from([((1, index), rows)]),
        };
        let tiles = async || match read(&online, &view, &["JFK"]).await.remove(0).unwrap().body {
            Body::Tiles(series) => series[1].tiles.iter().map(|tile| tile.index).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        online.put(&view, &[write(10, 1, 5).entry()]).await.unwrap();
        online.put(&view, &[write(12, 11, 7).entry()]).await.unwrap();
        assert_eq!(tiles().await, [11], "a window at twelve begins at two");
        // One release wrote values as a whole; its late writers must not bring one back.
        let rows = OnlineView::new(self::view().definition().clone(), 3, view.keys().clone(), false);
        assert_eq!(online.put(&rows, &[entry("JFK", [i64::MAX, 0, 0], Some(1))]).await.unwrap(), 0);
        assert_eq!(tiles().await, [11]);
        online.drop_version("load", 3).await.unwrap();
        assert_eq!(online.put(&rows, &[entry("JFK", [9, 0, 0], Some(1))]).await.unwrap(), 1);
        assert_eq!(online.put(&view, &[write(12, 11, 7).entry()]).await.unwrap(), 1);
        assert_eq!(tiles().await, [11]);
    }
}

#[tokio::test]
async fn an_equal_order_overwrites_and_an_older_one_does_not() {
    for online in both().await {
        let view = view();
        assert_eq!(online.put(&view, &[entry("JFK", [5, 0, 0], Some(1))]).await.unwrap(), 1);
        assert_eq!(online.put(&view, &[entry("JFK", [5, 0, 0], Some(2))]).await.unwrap(), 1);
        assert_eq!(online.put(&view, &[entry("JFK", [4, 9, 9], Some(3))]).await.unwrap(), 0);
        assert_eq!(
            read(&online, &view, &["JFK"]).await[0].as_ref().unwrap().body,
            Body::Row(vec![Value::Int(2)])
        );
    }
}

#[tokio::test]
async fn many_values_are_written_in_batches_and_read_in_the_order_asked() {
    for online in both().await {
        let view = view();
        let names: Vec<String> = (0..2_345).map(|index| format!("airport/{index}")).collect();
        let entries: Vec<_> =
            names.iter().zip(0..).map(|(name, index)| entry(name, [1, 1, 1], Some(index))).collect();
        assert_eq!(online.put(&view, &entries).await.unwrap(), 2_345);
        let asked = ["airport/7", "nowhere", "airport/2344"];
        let found: Vec<_> =
            read(&online, &view, &asked).await.into_iter().map(|stored| stored.map(|s| s.body)).collect();
        assert_eq!(
            found,
            [Some(Body::Row(vec![Value::Int(7)])), None, Some(Body::Row(vec![Value::Int(2344)]))]
        );
        let null = [Value::Null];
        assert_eq!(online.read(&[Read { view: &view, key: &null }]).await.unwrap(), [None]);
        assert_eq!(online.drop_version("load", 3).await.unwrap(), 2_345);
        assert_eq!(read(&online, &view, &asked).await, [None, None, None]);
    }
}

#[tokio::test]
async fn entities_are_counted_as_they_come_and_go() {
    for online in both().await {
        let view = view();
        let entries = |count: i64, order: i64| -> Vec<_> {
            (0..count).map(|index| entry(&index.to_string(), [order, 0, 0], Some(index))).collect()
        };
        online.put(&view, &entries(70, 1)).await.unwrap();
        assert_eq!(online.count("load", 3).await.unwrap(), 70);
        online.drop_version("load", 3).await.unwrap();
        online.begin_marker(&view).await.unwrap();
        for (count, order, all) in [(60, 2, 60), (70, 1, 70), (65, 3, 70)] {
            online.put(&view, &entries(count, order)).await.unwrap();
            online.begin_marker(&view).await.unwrap();
            assert_eq!(online.count("load", 3).await.unwrap(), all);
        }
        let windows = OnlineView::new(windows().definition().clone(), 4, view.keys().clone(), false);
        online.begin_marker(&windows).await.unwrap();
        let write = Write {
            order: TileOrder { lake_version: 1, clock: hour(1) },
            tiles: BTreeMap::from([((1, 0), 1)]),
        };
        for _ in 0..2 {
            online.put(&windows, &[write.entry()]).await.unwrap();
            assert_eq!(online.count("load", 4).await.unwrap(), 1);
        }
        online.drop_version("load", 4).await.unwrap();
        assert_eq!((online.count("load", 4).await.unwrap(), online.count("load", 3).await.unwrap()), (0, 70));
    }
}

#[tokio::test]
async fn a_marker_never_moves_back_and_tells_layouts_apart() {
    for online in both().await {
        let view = view();
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
}

#[tokio::test]
async fn a_marker_that_was_lost_with_its_values_does_not_come_back_without_them() {
    for online in both().await {
        let view = view();
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
}

fn live_model(fail_on_missing: bool) -> LiveSet {
    let version = LiveModelVersion {
        artifact: "artifacts/1".into(),
        code: None,
        runtime: "lightgbm".into(),
        keys: IndexMap::from([("origin".to_owned(), Type::String)]),
        hydration: Hydration::default(),
        views: IndexMap::from([("load".to_owned(), LiveView::new(view(), true, Vec::new()))]),
        request: IndexMap::new(),
        nullable: Some(Vec::new()),
        outputs: IndexMap::new(),
        fail_on_missing,
        processes: 2,
        processes_max: None,
    };
    let split = LiveSplit { rollout: "rol_1".to_owned(), step: 0, candidate: 2, percent: 10 };
    let model = LiveModel {
        aliases: IndexMap::from([("champion".to_owned(), 1)]),
        splits: IndexMap::from([("champion".to_owned(), split)]),
        versions: IndexMap::from([(2, Err("not today".to_owned())), (1, Ok(Arc::new(version)))]),
        log: Arc::new(PredictionLog { mask: vec!["origin".to_owned()], ..PredictionLog::default() }),
    };
    LiveSet {
        clock: DataClock::Wall,
        models: IndexMap::from([("late".to_owned(), model)]),
        ..LiveSet::default()
    }
}

#[tokio::test]
async fn watchers_see_the_latest_live_set_and_an_earlier_publication_is_refused() {
    for online in both().await {
        let mut watched = online.watch(Duration::from_millis(5));
        assert_eq!(online.live().await.unwrap(), None);
        let live = live_model(true);
        assert!(!online.publishes(&live).await.unwrap());
        assert!(online.publish(2, &live).await.unwrap());
        assert!(!online.publish(1, &LiveSet::default()).await.unwrap());
        assert!(online.publishes(&live).await.unwrap());
        assert!(!online.publishes(&live_model(false)).await.unwrap());
        let seen = watched.wait_for(|seen| seen.live.is_some()).await.unwrap();
        assert_eq!(seen.live, Some((2, Arc::new(live))));
    }
}

#[tokio::test]
async fn a_version_that_can_t_be_read_costs_no_other() {
    let world = prefix().await.unwrap();
    let online = Online::connect(&OnlineOptions::new(&world.url, &world.prefix)).unwrap();
    online.publish(1, &live_model(true)).await.unwrap();
    let mut connection = connection(&world.url).await.unwrap();
    let key = format!("{}:live:3", world.prefix);
    let spoil =
        redis::cmd("HSET").arg(key).arg("version/late/2").arg(r#"{"Ok": {"of": "tomorrow"}}"#).to_owned();
    spoil.query_async::<()>(&mut connection).await.unwrap();
    let live = online.live().await.unwrap().unwrap();
    let versions = &live.models["late"].versions;
    assert!(versions[&1].is_ok());
    assert!(versions[&2].as_ref().unwrap_err().contains("can't be read"), "{versions:?}");
}

#[tokio::test]
async fn a_watcher_keeps_the_live_set_that_redis_lost_and_says_what_redis_holds() {
    let mut server = Server::start().unwrap();
    let online = Online::connect(&OnlineOptions::new(server.url(), "lost")).unwrap();
    online.publish(7, &live_model(true)).await.unwrap();
    let (view, other) =
        (view(), OnlineView::new(view().definition().clone(), 4, view().keys().clone(), false));
    let mut watched = online.watch(Duration::from_millis(5));
    // That writing has begun says nothing of what was written.
    online.begin_marker(&view).await.unwrap();
    assert_eq!(online.markers().await.unwrap().held(&view), 0);
    assert!(online.mark(&view, 0, 4).await.unwrap());
    let holds = |seen: &Seen| matches!(&seen.redis, Some(Ok(held)) if held.live && held.holds(&view));
    let holds_other = |seen: &Seen| matches!(&seen.redis, Some(Ok(held)) if held.holds(&other));
    let seen = watched.wait_for(|seen| seen.live.is_some() && holds(seen)).await.unwrap().clone();
    assert!(!holds_other(&seen));

    let mut connection = connection(&server.url()).await.unwrap();
    redis::cmd("FLUSHALL").query_async::<()>(&mut connection).await.unwrap();
    let kept = watched.wait_for(|seen| seen.redis == Some(Ok(Held::default()))).await.unwrap().clone();
    assert_eq!(kept.live, seen.live);
    server.stop();
    let kept = watched.wait_for(|seen| matches!(seen.redis, Some(Err(_)))).await.unwrap().clone();
    assert_eq!(kept.live, seen.live);
}

#[tokio::test]
async fn what_a_serving_process_says_of_itself_is_there_until_it_leaves() {
    for online in both().await {
        assert_eq!(online.replicas().await.unwrap(), []);
        let said = |address: &str, order| Replica { address: address.into(), order, ..Replica::default() };
        online.say("b", &said("127.0.0.1:2", 1)).await.unwrap();
        online.say("a", &said("127.0.0.1:1", 1)).await.unwrap();
        online.say("b", &said("127.0.0.1:2", 5)).await.unwrap();
        assert_eq!(online.replicas().await.unwrap(), [said("127.0.0.1:1", 1), said("127.0.0.1:2", 5)]);
        online.leave("a").await.unwrap();
        assert_eq!(online.replicas().await.unwrap(), [said("127.0.0.1:2", 5)]);
    }
}

#[tokio::test]
async fn a_redis_that_is_away_is_an_error_and_its_return_needs_no_restart() {
    let mut server = Server::start().unwrap();
    let options = OnlineOptions::new(server.url(), "away");
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
