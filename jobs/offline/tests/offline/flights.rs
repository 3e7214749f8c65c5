//! The year of flights through the lake, timed by step. Needs the folder that `pipelines/flights/prepare.py` wrote:
//! `TIDEMILL_FLIGHTS=FOLDER cargo test -p tidemill-offline --test offline flights -- --ignored --nocapture`

use std::{path::Path, sync::Arc, time::Instant};

use arrow::{
    array::{ArrayRef, BooleanArray, Int64Array, RecordBatch},
    compute::cast,
};
use tidemill_offline::{CommitRange, LabelRequest, PitRequest, Stamp, Table, TileRange, View};
use tidemill_rows::source_schema;
use tidemill_spec::{Objects, Plan, Source, ViewKind, load_with};

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the files of the flights year"]
async fn the_flights_year_gets_its_features_in_seconds() {
    let folder = std::env::var("TIDEMILL_FLIGHTS").unwrap();
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines/flights");
    let objects = load_with(&project, &tidemill_spec::LoadOptions::default()).unwrap().objects;
    let world = World::new().await;
    let mut clock = Timer(Instant::now());
    for source in objects.sources.values() {
        ingest(&world, source, &Path::new(&folder).join(&source.name)).await;
    }
    clock.lap("staged and published all sources");
    for name in objects.views_in_order() {
        let view = view(&objects, &name);
        let everything = CommitRange::upto(world.lake.head().await.unwrap());
        match view.kind() {
            ViewKind::Rows => {
                let rows = world.lake.compute_rows(&view, everything, (0, 1)).await.unwrap().rows;
                clock.lap(&format!("computed {} rows of {name}", rows.num_rows()));
                world.publish(&view.table(), "all", &view.keys(), rows).await;
            }
            ViewKind::Windows => {
                let now = tidemill_spec::value::parse_time("2013-06-01T04:00:00Z").unwrap();
                let range = TileRange { commits: everything, clock_before: None, clock: now, part: (0, 1) };
                let stamp = Stamp { created_at: now, seq: everything.upto };
                let tiles = world.lake.tiles_touched(&view, range, stamp).await.unwrap();
                clock.lap(&format!("computed {} tiles of {name}", tiles.num_rows()));
                continue;
            }
            ViewKind::Derived => continue,
            ViewKind::Snapshots => {
                let moments = world.lake.snapshots(&view, everything, (0, 1)).await.unwrap();
                clock.lap(&format!("found {} moments of {name}", moments.inputs.num_rows()));
                continue;
            }
        }
        clock.lap(&format!("published {name}"));
    }
    let labels = world.lake.labels(&label(&objects, world.lake.head().await.unwrap())).await.unwrap();
    clock.lap(&format!("read {} labels", labels.rows.num_rows()));
    let hydration = objects.hydration("late_flight").unwrap();
    let version = world.lake.head().await.unwrap();
    let whole = PitRequest::hydrating(
        labels.rows,
        "label_ts",
        &hydration,
        |name| Some(view(&objects, name)),
        version,
    );
    let whole = whole.unwrap();
    for read in &whole.reads {
        let one = PitRequest { reads: vec![read.clone()], ..whole.clone() };
        if one.reads[0].keys.iter().all(|key| matches!(key, tidemill_spec::KeyOrigin::Request(_))) {
            world.lake.point_in_time(&one).await.unwrap();
            clock.lap(&format!("joined {}", read.view.name()));
        }
    }
    let rows = world.lake.point_in_time(&whole).await.unwrap();
    clock.lap(&format!("joined everything: {} rows, {} columns", rows.num_rows(), rows.num_columns()));
}

fn view(objects: &Objects, name: &str) -> View {
    View::of(&Plan::of(objects, &objects.views[name], |_| Some(1), None).unwrap(), 1)
}

fn label(objects: &Objects, version: i64) -> LabelRequest {
    let label = objects.labels["late"].clone();
    let time = |text: &str| tidemill_spec::value::parse_time(text).unwrap();
    LabelRequest {
        entity: objects.entities[&label.entity].clone(),
        source: objects.sources[&label.source].clone(),
        label,
        population: None,
        from: time("2013-01-01"),
        to: time("2014-02-01"),
        clock: time("2014-02-01"),
        version,
    }
}

async fn ingest(world: &World, source: &Source, folder: &Path) {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for (ordinal, file) in files.iter().enumerate() {
        let rows = tidemill_offline::read::read_file(file).await.unwrap();
        let batch = stamped(source, &rows, (ordinal as i64) << 40);
        world.publish(&Table::source(&source.name), &file.to_string_lossy(), &[], batch).await;
    }
}

fn stamped(source: &Source, rows: &RecordBatch, first: i64) -> RecordBatch {
    let count = rows.num_rows();
    let schema = source_schema(source);
    let columns: Vec<ArrayRef> = schema
        .fields()
        .iter()
        .map(|field| -> ArrayRef {
            match field.name().as_str() {
                "valid_at" | "created_at" => {
                    cast(rows.column_by_name(&source.available_time).unwrap(), field.data_type()).unwrap()
                }
                "seq" => Arc::new(Int64Array::from_iter_values(first..first + count as i64)),
                "deleted" => Arc::new(BooleanArray::from(vec![false; count])),
                name => cast(rows.column_by_name(name).unwrap(), field.data_type()).unwrap(),
            }
        })
        .collect();
    RecordBatch::try_new(schema, columns).unwrap()
}

struct Timer(Instant);

impl Timer {
    fn lap(&mut self, what: &str) {
        println!("{:6.2} s  {what}", self.0.elapsed().as_secs_f64());
        self.0 = Instant::now();
    }
}
