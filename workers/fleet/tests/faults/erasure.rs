//! An erased entity is nowhere: every object is read, and all of Redis.

use serde_json::{Map, Value as Json, json};
use tidemill_offline::{Read, Table};
use tidemill_removal::{Deps, erase_scope, erasure, source_scope, truncation};
use tidemill_rows::{json_rows, parquet};
use tidemill_stores::Stores;

use crate::world::{Template, World, visits};

/// A text that stands nowhere else.
const SHOPPER: &str = "zaphod-beeblebrox";

fn key(shopper: &str) -> Map<String, Json> {
    Map::from_iter([("shopper".to_owned(), json!(shopper))])
}

fn deps(stores: &Stores) -> Deps {
    let Stores { catalog, lake, blobs, .. } = stores.clone();
    Deps { catalog, lake, blobs }
}

/// Objects and keys or values of Redis that hold a text. Rows of Parquet are read, whatever it is packed with.
async fn holding(world: &World, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in world.stores.blobs.list("").await.unwrap() {
        let bytes = world.stores.blobs.get_at(&entry.path).await.unwrap();
        let said = if entry.path.ends_with(".parquet") {
            json!(json_rows(&parquet::read(bytes).unwrap()).unwrap()).to_string()
        } else {
            String::from_utf8_lossy(&bytes).into_owned()
        };
        if said.contains(text) {
            found.push(entry.path);
        }
    }
    found.extend(world.redis.dump().await.unwrap().into_iter().filter(|line| line.contains(text)));
    found
}

/// Visits of a shopper of that name between those of others; one row is refused, and one can't even be split.
async fn visit(world: &World, numbers: std::ops::Range<u32>) {
    let csv = visits(numbers).replace(",a,", &format!(",{SHOPPER},"))
        + &format!(
            "900,{SHOPPER},2024-02-14T00:00:00Z,-5,\n901,{SHOPPER},2024-02-14T00:00:00Z,1,x,too,many\n"
        );
    world.upload("visits", &csv).await.unwrap();
    drive(world).await;
}

async fn drive(world: &World) {
    let kinds: Vec<String> = world.jobs(None).iter().map(|job| job.kind().to_string()).collect();
    world.drive(&kinds.iter().map(String::as_str).collect::<Vec<_>>()).await.unwrap();
}

async fn rows(world: &World, table: Table) -> Vec<Map<String, Json>> {
    let lake = &world.stores.lake;
    json_rows(&lake.read(&Read::all(table, lake.head().await.unwrap())).await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_an_erased_entity_is_left_in_any_object_or_in_redis() {
    let world = Template::fill("shop_erased").await.unwrap().world().await.unwrap();
    visit(&world, 40..56).await;
    // Files of before that only older versions read.
    world.enqueue(tidemill_upkeep::compaction(&Table::source("visits"))).await.unwrap();
    drive(&world).await;
    let others = |rows: Vec<Map<String, Json>>| -> Vec<Map<String, Json>> {
        rows.into_iter().filter(|row| row["shopper"] != SHOPPER).collect()
    };
    let views = ["last_visit", "week", "mood"];
    let tables = || views.iter().map(|view| Table::view(view, 1)).chain([Table::source("visits")]);
    let mut before = Vec::new();
    for table in tables() {
        before.push(others(rows(&world, table).await));
    }
    let held = holding(&world, SHOPPER).await;
    for place in ["lake/source/visits/", "lake/dead/visits/", "lake/view/week/1/", "uploads/", "mood:1 "] {
        assert!(held.iter().any(|found| found.contains(place)), "{place} is not among {held:#?}");
    }

    let scope = erase_scope(&deps(&world.stores), "shopper", &key(SHOPPER)).await.unwrap();
    assert!(
        scope.tables[&Table::source("visits")] >= 2 && scope.tables[&Table::dead("visits")] == 2,
        "{scope:#?}"
    );
    assert!(scope.old_rows > 0, "what the compaction replaced: {scope:#?}");
    assert_eq!(
        (scope.online.as_slice(), scope.refilled.len()),
        (&["last_visit", "mood", "week"].map(str::to_owned)[..], 0)
    );
    assert_eq!(holding(&world, SHOPPER).await, held, "a look changes nothing");
    world.enqueue(erasure("shopper", &key(SHOPPER))).await.unwrap();
    drive(&world).await;
    assert_eq!(holding(&world, SHOPPER).await, Vec::<String>::new());
    for (table, before) in tables().zip(before) {
        assert_eq!(rows(&world, table.clone()).await, before, "others in {table} are as they were");
    }

    // What is written again from what is left does not bring it back.
    for view in views {
        world.stores.online.drop_version(view, 1).await.unwrap();
        world.enqueue(tidemill_features::rebuild_new(view)).await.unwrap();
    }
    visit_others(&world).await;
    assert_eq!(holding(&world, SHOPPER).await, Vec::<String>::new());
}

async fn visit_others(world: &World) {
    world.upload("visits", &visits(56..60)).await.unwrap();
    drive(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn training_sets_that_hold_an_erased_entity_are_flagged_and_told_with_their_models() {
    let world = Template::fill("shop_trained").await.unwrap().world().await.unwrap();
    let scope = erase_scope(&deps(&world.stores), "shopper", &key("a")).await.unwrap();
    assert_eq!(scope.datasets.len(), 1, "{scope:#?}");
    assert_eq!(scope.datasets[0].models, ["buyer@1"]);
    world.enqueue(erasure("shopper", &key("a"))).await.unwrap();
    drive(&world).await;
    let datasets = world.stores.catalog.datasets(10).await.unwrap();
    assert!(datasets[0].erased_at.is_some());
    let nobody = erase_scope(&deps(&world.stores), "shopper", &key("nobody")).await.unwrap();
    assert!(nobody.tables.is_empty() && nobody.datasets.is_empty(), "{nobody:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_source_has_no_rows_and_what_comes_then_is_all_there_is() {
    let world = Template::fill("shop_truncated").await.unwrap().world().await.unwrap();
    let head = world.stores.lake.head().await.unwrap();
    let before = rows(&world, Table::source("visits")).await.len();
    let scope = source_scope(&deps(&world.stores), "visits").await.unwrap();
    assert_eq!((scope.rows, scope.uploads), (i64::try_from(before).unwrap(), 1));
    let names: Vec<&str> = scope.views.iter().map(|view| view.view.as_str()).collect();
    assert_eq!(names.last(), Some(&"mood"), "inputs first: {names:?}");
    world.enqueue(truncation("visits")).await.unwrap();
    drive(&world).await;
    for table in ["last_visit", "week", "mood"]
        .map(|view| Table::view(view, 1))
        .into_iter()
        .chain([Table::source("visits")])
    {
        assert_eq!(rows(&world, table.clone()).await.len(), 0, "{table}");
    }
    assert_eq!(world.stores.online.count("last_visit", 1).await.unwrap(), 0);
    assert_eq!(world.stores.catalog.source_summary("visits").await.unwrap().rows, 0);
    let lake = &world.stores.lake;
    let old = lake.read(&Read::all(Table::source("visits"), head)).await.unwrap();
    assert_eq!(old.num_rows(), before, "the version of before can be read");

    // The same file again is no duplicate.
    world.upload("visits", &visits(0..40)).await.unwrap();
    drive(&world).await;
    assert_eq!(rows(&world, Table::source("visits")).await.len(), 40);
    assert_eq!(world.stores.online.count("mood", 1).await.unwrap(), 4);
}
