//! Ten thousand rows of any values go through every door that files have, and come out as they went in: source, view,
//! training set, online value, export, and the upload of that export. What can't be kept is refused with its place.

use std::{collections::HashSet, fmt::Write as _};

use indexmap::IndexMap;
use tidemill_core::Time;
use tidemill_offline::{CommitRange, KnownAt, PitRead, PitRequest, Read, Table, View};
use tidemill_online::{Body, OnlineView, Order, Stored, values};
use tidemill_rows::{
    Row, batch_of, field, json_rows,
    out::{Format, Writer},
    parquet, rows_of,
};
use tidemill_spec::{Decimal, Digits, Element, Objects, OnlineFeatures, Plan, Type, Value};

use crate::world::{World, objects, row_of};

const ROWS: usize = 10_000;

const PRICE: Type = Type::Decimal(Digits::new(38, 9).unwrap());
const EMBEDDING: Type = Type::List { of: Element::Float, length: Some(3) };
const WORDS: Type = Type::List { of: Element::String, length: None };

const COLUMNS: [(&str, Type); 10] = [
    ("id", Type::Int),
    ("f", Type::Float),
    ("s", Type::String),
    ("t", Type::Timestamp),
    ("d", Type::Date),
    ("b", Type::Bool),
    ("p", PRICE),
    ("e", EMBEDDING),
    ("w", WORDS),
    ("at", Type::Timestamp),
];

const FEATURES: [&str; 8] = ["f", "s", "t", "d", "b", "p", "e", "w"];

fn project() -> String {
    let mut yaml = "apiVersion: tidemill/v1\nkind: Project\nname: test\n---\n\
        apiVersion: tidemill/v1\nkind: Entity\nname: thing\nkeys: { id: int }\n"
        .to_owned();
    for name in ["csv", "jsonl", "parquet", "copy_csv", "copy_parquet"] {
        let _ = write!(
            yaml,
            "---\napiVersion: tidemill/v1\nkind: Source\nname: {name}\ncolumns:\n  id: int\n  \
             f: {{ type: float, nullable: true }}\n  s: {{ type: string, nullable: true }}\n  \
             t: {{ type: timestamp, nullable: true }}\n  d: {{ type: date, nullable: true }}\n  \
             b: {{ type: bool, nullable: true }}\n  p: {{ type: \"{PRICE}\", nullable: true }}\n  \
             e: {{ type: \"{EMBEDDING}\", nullable: true }}\n  w: {{ type: \"{WORDS}\", nullable: true }}\n  \
             at: timestamp\nevent_time: at\n"
        );
    }
    let stored = COLUMNS.iter().filter(|(name, _)| FEATURES.contains(name));
    let features: String = stored.map(|(name, ty)| format!("  {name}: {ty}\n")).collect();
    yaml + "---\napiVersion: tidemill/v1\nkind: FeatureView\nname: last_thing\nentity: thing\nsource: jsonl\n\
            features:\n"
        + &features
        + "online: true\n"
}

/// Splitmix64, so that a failure is the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }

    fn float(&mut self) -> f64 {
        let edges = [0.0, -0.0, 0.1, 1e22, 1e23, 5e-324, f64::MIN_POSITIVE, f64::MAX, f64::MIN, 1.0 / 3.0];
        match self.below(10) {
            0 => *self.pick(&edges),
            // Cents and the like: what people write.
            1 | 2 => f64::from(u32::try_from(self.below(10_000_000)).unwrap()) / 100.0,
            _ => loop {
                let any = f64::from_bits(self.next());
                if any.is_finite() {
                    return any;
                }
            },
        }
    }

    fn int(&mut self) -> i64 {
        match self.below(5) {
            0 => *self.pick(&[i64::MIN, i64::MAX, 0, -1, (1 << 53) + 1, 336_432_622_316_028_723]),
            _ => self.next().cast_signed(),
        }
    }

    /// Digits that no float holds.
    fn price(&mut self) -> Value {
        let most = 10_i128.pow(38) - 1;
        let unscaled = match self.below(4) {
            0 => *self.pick(&[most, -most, 0, 1, -1]),
            1 => i128::from(self.below(1_000_000)) * 10_i128.pow(7),
            _ => ((i128::from(self.next()) << 64) | i128::from(self.next())) % most,
        };
        Value::Decimal(Decimal::new(unscaled, 9))
    }

    fn text(&mut self) -> String {
        let words = [
            "",
            "007",
            "NULL",
            "null",
            "true",
            "nan",
            "NaN",
            "inf",
            "1e5",
            "-",
            "\"",
            "\"\"",
            ",",
            ";",
            "\n",
            "\r\n",
            "\r",
            "\t",
            " ",
            "'",
            "\\",
            "\\n",
            "\\N",
            "N/A",
            "🦀",
            "é",
            "\u{2028}",
            "\u{feff}",
            "{\"a\": 1}",
            "[1, 2]",
            "#",
            "a",
            "Z",
            "0",
            "2024-05-02",
            "--",
            "$1",
            "?",
            "%",
            "/",
            "\u{7f}",
            "\u{1}",
        ];
        (0..self.below(5)).map(|_| *self.pick(&words)).collect()
    }

    /// Within what can be written with four digits of a year.
    fn micros(&mut self) -> i64 {
        let (first, last) = (-62_135_596_800_000_000_i64, 253_402_300_799_999_999_i64);
        match self.below(3) {
            0 => first + i64::try_from(self.below(last.abs_diff(first))).unwrap(),
            _ => 1_300_000_000_000_000 + i64::try_from(self.below(500_000_000_000_000)).unwrap(),
        }
    }

    fn row(&mut self, id: i64) -> Row {
        let time = |micros| Value::Timestamp(Time::from_timestamp_micros(micros).unwrap());
        let date = Time::from_timestamp_micros(self.micros()).unwrap().date_naive();
        let values = [
            Value::Int(id),
            Value::Float(self.float()),
            Value::String(self.text()),
            time(self.micros()),
            Value::Date(date),
            Value::Bool(self.below(2) == 0),
            self.price(),
            Value::List((0..3).map(|_| Value::Float(self.float())).collect()),
            Value::List((0..self.below(4)).map(|_| Value::String(self.text())).collect()),
            time(1_300_000_000_000_000 + i64::try_from(self.below(500_000_000_000_000)).unwrap()),
        ];
        let row = COLUMNS.iter().zip(values).map(|((name, _), value)| {
            let null = !matches!(*name, "id" | "at") && self.below(10) == 0;
            ((*name).to_owned(), if null { Value::Null } else { value })
        });
        row.collect()
    }

    fn rows(&mut self) -> Vec<Row> {
        let mut seen = HashSet::new();
        let mut rows = Vec::new();
        while rows.len() < ROWS {
            let id = self.int();
            if seen.insert(id) {
                rows.push(self.row(id));
            }
        }
        rows
    }

    /// An instant as one of many writes it.
    fn written(&mut self, value: &Value) -> String {
        let Value::Timestamp(time) = value else { return value.to_string() };
        match self.below(4) {
            0 => time.format("%Y-%m-%d %H:%M:%S%.6f").to_string(),
            1 => time.format("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string(),
            2 => {
                let zone = chrono::FixedOffset::east_opt(19_800).unwrap();
                let local = time.with_timezone(&zone).format("%Y-%m-%dT%H:%M:%S%.6f%:z").to_string();
                // A local year of five digits has no form that is read.
                if local.len() == 32 && !local.starts_with(['+', '-']) { local } else { time.to_rfc3339() }
            }
            _ => time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string(),
        }
    }
}

fn csv(rows: &[Row], random: &mut Random) -> String {
    let mut text = "at,b,d,e,f,id,p,s,t,w\n".to_owned();
    for row in rows {
        let cells = ["at", "b", "d", "e", "f", "id", "p", "s", "t", "w"].map(|name| match &row[name] {
            Value::Null => String::new(),
            list @ Value::List(_) => format!("\"{}\"", list.to_string().replace('"', "\"\"")),
            Value::String(text) => format!("\"{}\"", text.replace('"', "\"\"")),
            Value::Float(number) => format!("{number:e}"),
            other => random.written(other),
        });
        text += &(cells.join(",") + if random.below(2) == 0 { "\n" } else { "\r\n" });
    }
    text
}

fn jsonl(rows: &[Row], random: &mut Random) -> String {
    let mut text = String::new();
    for row in rows {
        let fields = row.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| {
            let json = match value {
                Value::Timestamp(_) => serde_json::Value::from(random.written(value)).to_string(),
                // As text or as a number: of both the digits count.
                Value::Decimal(number) if random.below(2) == 0 => number.to_string(),
                other => other.to_json().to_string(),
            };
            format!("\"{name}\": {json}")
        });
        let _ = writeln!(text, "{{{}}}", fields.collect::<Vec<_>>().join(", "));
    }
    text
}

fn schema() -> arrow::datatypes::SchemaRef {
    let fields: Vec<_> = COLUMNS.iter().map(|(name, ty)| field(name, *ty)).collect();
    std::sync::Arc::new(arrow::datatypes::Schema::new(fields))
}

/// The declared columns of a source, in the order of the file.
async fn stored(world: &World, source: &str) -> Vec<Row> {
    let head = world.lake.head().await.unwrap();
    let read = world.lake.read(&Read::all(Table::source(source), head)).await.unwrap();
    let mut rows = rows_of(&read).unwrap();
    rows.sort_by_key(|row| row["seq"].clone());
    let declared =
        |row: &Row| COLUMNS.iter().map(|(name, _)| ((*name).to_owned(), row[*name].clone())).collect();
    rows.iter().map(declared).collect()
}

/// Rows equal by every bit; the first that differ are shown.
fn same(door: &str, got: &[Row], expected: &[Row]) {
    assert_eq!(got.len(), expected.len(), "{door}");
    if let Some((got, expected)) = got.iter().zip(expected).find(|(got, expected)| got != expected) {
        panic!("{door}: {got:?} for {expected:?}");
    }
}

async fn send(world: &World, source: &str, name: &str, bytes: impl AsRef<[u8]>) {
    world.send(source, name, bytes, false).await.unwrap();
    world.settle().await;
    let dead = world.ingest.dead_letters(source, 5).await.unwrap();
    assert!(dead.is_empty(), "{source}: {dead:?}");
}

fn exported(format: Format, batch: &arrow::array::RecordBatch) -> Vec<u8> {
    let mut writer = Writer::open(format, Vec::new(), &batch.schema()).unwrap();
    writer.write(batch).unwrap();
    writer.finish().unwrap()
}

fn last_thing(objects: &Objects) -> View {
    let mut definition = objects.views["last_thing"].clone();
    definition.online = OnlineFeatures::All;
    View::of(&Plan::of(objects, &definition, |_| None, None).unwrap(), 1)
}

fn features_of(row: &Row) -> Row {
    FEATURES.iter().map(|name| ((*name).to_owned(), row[*name].clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_value_comes_out_of_every_door_as_it_went_in() {
    let world = World::new().await;
    let project = project();
    world.apply(&project).await;
    let mut random = Random(7);
    let rows = random.rows();

    // In by three formats.
    send(&world, "csv", "rows.csv", csv(&rows, &mut random)).await;
    send(&world, "jsonl", "rows.jsonl", jsonl(&rows, &mut random)).await;
    send(&world, "parquet", "rows.parquet", parquet::write(&batch_of(&schema(), &rows).unwrap()).unwrap())
        .await;
    for source in ["csv", "jsonl", "parquet"] {
        same(source, &stored(&world, source).await, &rows);
    }

    // Out by two, and in again: the identity.
    let head = world.lake.head().await.unwrap();
    let table = world.lake.read(&Read::all(Table::source("csv"), head)).await.unwrap();
    send(&world, "copy_csv", "export.csv", exported(Format::Csv, &table)).await;
    send(&world, "copy_parquet", "export.parquet", exported(Format::Parquet, &table)).await;
    let by_id = |mut rows: Vec<Row>| {
        rows.sort_by_key(|row| row["id"].clone());
        rows
    };
    for source in ["copy_csv", "copy_parquet"] {
        same(source, &by_id(stored(&world, source).await), &by_id(rows.clone()));
    }

    // A view, offline: keys by three formats of labels.
    let objects = objects(&project);
    let view = last_thing(&objects);
    let head = world.lake.head().await.unwrap();
    let computed = world.lake.compute_rows(&view, CommitRange::upto(head), (0, 1)).await.unwrap();
    let (table, keys, schema) = (view.table(), view.keys(), view.schema());
    let staged = world.lake.stage(&table, "doors", 0, &keys, &schema, vec![computed.rows]).await.unwrap();
    let mut tx = world.engine.store.pool().begin().await.unwrap();
    world.lake.publish(&mut tx, &view.table(), "doors", staged.as_slice()).await.unwrap();
    tx.commit().await.unwrap();
    let version = world.lake.head().await.unwrap();
    let types = IndexMap::from([("id".to_owned(), Type::Int), ("label_ts".to_owned(), Type::Timestamp)]);
    let labels: Vec<Row> = rows
        .iter()
        .map(|row| {
            let text = row["s"].to_string().replace('\0', "");
            [
                ("id".to_owned(), row["id"].clone()),
                ("label_ts".to_owned(), row["at"].clone()),
                ("y".to_owned(), row["f"].clone()),
                ("code".to_owned(), Value::String(format!("0{text}"))),
            ]
            .into()
        })
        .collect();
    let label_schema =
        [("id", Type::Int), ("label_ts", Type::Timestamp), ("y", Type::Float), ("code", Type::String)];
    let label_schema: Vec<_> = label_schema.iter().map(|(name, ty)| field(name, *ty)).collect();
    let batch = batch_of(&std::sync::Arc::new(arrow::datatypes::Schema::new(label_schema)), &labels).unwrap();
    let json =
        json_rows(&batch).unwrap().into_iter().map(|row| serde_json::Value::from(row).to_string() + "\n");
    for (name, bytes) in [
        ("labels.csv", exported(Format::Csv, &batch)),
        ("labels.jsonl", json.collect::<String>().into_bytes()),
        ("labels.parquet", exported(Format::Parquet, &batch)),
    ] {
        let path = world.file(name, bytes);
        let read = world.lake.label_file(&path, &types).await.unwrap();
        same(name, &rows_of(&read.rows).unwrap(), &labels);
        let request = PitRequest {
            labels: read.rows,
            label_ts: "label_ts".to_owned(),
            reads: vec![PitRead::all(view.clone())],
            version,
            known_at: KnownAt::Any,
            on_demand: None,
        };
        let dataset = world.lake.point_in_time(&request).await.unwrap();
        let back = rows_of(&parquet::read(parquet::write(&dataset).unwrap()).unwrap()).unwrap();
        let expected: Vec<Row> = rows.iter().map(features_of).collect();
        same(name, &back.iter().map(features_of).collect::<Vec<_>>(), &expected);
        // The same training set as JSON, read by who knows the types.
        for (json, row) in json_rows(&dataset).unwrap().into_iter().zip(&rows) {
            let text = serde_json::Value::from(json).to_string();
            let json: serde_json::Value = serde_json::from_str(&text).unwrap();
            for (name, ty) in COLUMNS.iter().filter(|(name, _)| FEATURES.contains(name)) {
                assert_eq!(Value::from_json(&json[*name], *ty).unwrap(), row[*name], "{text}");
            }
        }
    }

    // A view, online.
    let online = OnlineView::new(view.definition.clone(), 1, view.entity.keys.clone(), false);
    for row in &rows {
        let Value::Timestamp(at) = row["at"] else { unreachable!() };
        let body = Body::Row(FEATURES.iter().map(|name| row[*name].clone()).collect());
        let bytes = Stored { order: Order::row(at, at, 1), body }.encode(&online).unwrap();
        let read = values(&online, Some(&bytes), at).unwrap();
        assert_eq!(read.values.into_iter().collect::<Row>(), features_of(row));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_column_can_hold_is_refused_with_its_place_by_every_format() {
    let world = World::new().await;
    world.apply(&project()).await;
    let at = "2024-05-02T10:00:00Z";
    let bad = [
        ("1", "inf", "\"x\"", "`f` is not a finite number: inf"),
        ("2", "1e400", "\"x\"", "`f` is not a finite number: 1e400"),
        ("9223372036854775808", "1", "\"x\"", "`id` should be int, but is `9223372036854775808`"),
        ("1.5", "1", "\"x\"", "`id` should be int, but is `1.5`"),
        (
            "5",
            "1",
            "\"a\0b\"",
            "`s` is not valid text: it holds a NUL character, or bytes that are not UTF-8",
        ),
    ];
    let mut csv = "id,f,s,at\n0,nan,x,2024-05-02\n".to_owned();
    let mut jsonl = format!("{{\"id\": 0, \"f\": \"NaN\", \"s\": \"x\", \"at\": \"{at}\"}}\n");
    for (id, f, s, _) in bad {
        let _ = writeln!(csv, "{id},{f},{s},{at}");
        let s = s.replace('\0', "\\u0000");
        let f = if f == "inf" { "\"inf\"" } else { f };
        let _ = writeln!(jsonl, "{{\"id\": {id}, \"f\": {f}, \"s\": {s}, \"at\": \"{at}\"}}");
    }
    for (source, name, bytes) in [("csv", "bad.csv", csv), ("jsonl", "bad.jsonl", jsonl)] {
        let accepted = world.send(source, name, bytes, false).await.unwrap();
        world.settle().await;
        let dead = world.ingest.dead_letters(source, 10).await.unwrap();
        let told: Vec<_> = dead.iter().map(|letter| (row_of(letter), letter.reason.as_str())).collect();
        let expected: Vec<_> = (2_i64..).zip(bad.map(|(.., reason)| reason)).collect();
        assert_eq!(told, expected, "{source}");
        let good = stored(&world, source).await;
        assert_eq!((good.len(), &good[0]["f"]), (1, &Value::Null), "{source}");
        let naive = world.catalog.upload(accepted.upload).await.unwrap().unwrap().naive_timestamps;
        assert_eq!(naive, source == "csv", "a day alone is taken for UTC");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_decimals_of_parquet_are_read_by_their_values_and_others_are_refused() {
    let world = World::new().await;
    world.apply(&project()).await;
    let parquet = world.file("typed.parquet", "");
    let values = [
        "1.50::DECIMAL(9,2), [0.1, 2, 3]::DOUBLE[], ['a', 'b,]']",
        "0.1::DOUBLE, [0.1, 2, 3]::FLOAT[3], [DATE '2024-05-02']",
        "7::INT, [1, 2, 3]::INT[], [NULL]",
        "1e-10::DOUBLE, [1.5, 2]::DECIMAL(9,1)[], []",
        "7, ['nan'::DOUBLE, 1, 2], ['a']",
    ];
    let mut reasons = Vec::new();
    for (id, values) in values.iter().enumerate() {
        let sql = format!(
            "COPY (SELECT {id} AS id, v.* , TIMESTAMP '2024-05-02 10:00:00' AS at FROM (SELECT {values}) AS v(p, e, w)) \
             TO '{}' (FORMAT parquet)",
            parquet.display()
        );
        duckdb::Connection::open_in_memory().unwrap().execute_batch(&sql).unwrap();
        world
            .send("parquet", &format!("{id}.parquet"), std::fs::read(&parquet).unwrap(), false)
            .await
            .unwrap();
        world.settle().await;
    }
    for letter in world.ingest.dead_letters("parquet", 10).await.unwrap().into_iter().rev() {
        reasons.push(letter.reason);
    }
    assert_eq!(
        reasons,
        [
            "`w` should be string[], but is `[null]`; nothing in a list is missing: no null, no NaN",
            "`p` should be decimal(38,9), but is `1e-10`; `e` should be float[3], but has 2 values",
            "`e` should be float[3], but is `[nan, 1.0, 2.0]`; nothing in a list is missing: no null, no NaN",
        ]
    );
    let stored = stored(&world, "parquet").await;
    let floats = |floats: [f64; 3]| Value::List(floats.map(Value::Float).into());
    let texts =
        |texts: &[&str]| Value::List(texts.iter().map(|text| Value::String((*text).into())).collect());
    let price = |unscaled| Value::Decimal(Decimal::new(unscaled, 9));
    let told: Vec<_> =
        stored.iter().map(|row| [row["p"].clone(), row["e"].clone(), row["w"].clone()]).collect();
    assert_eq!(
        told,
        [
            [price(1_500_000_000), floats([0.1, 2.0, 3.0]), texts(&["a", "b,]"])],
            // A narrow float keeps its value.
            [price(100_000_000), floats([f64::from(0.1_f32), 2.0, 3.0]), texts(&["2024-05-02"])],
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nested_values_are_the_same_json_by_every_format() {
    let world = World::new().await;
    world.apply(&project()).await;
    let parquet = world.file("nested.parquet", "");
    let sql = format!(
        "COPY (SELECT 1 AS id, {{'a': 1, 'b': [true, NULL], 'c': 'x \" y'}} AS s, TIMESTAMP '2024-05-02 10:00:00' AS at) \
         TO '{}' (FORMAT parquet)",
        parquet.display()
    );
    duckdb::Connection::open_in_memory().unwrap().execute_batch(&sql).unwrap();
    let line = r#"{"id": 1, "s": {"a": 1, "b": [true, null], "c": "x \" y"}, "at": "2024-05-02T10:00:00Z"}"#;
    send(&world, "jsonl", "nested.jsonl", line).await;
    send(&world, "parquet", "nested.parquet", std::fs::read(parquet).unwrap()).await;
    let expected = Value::String(r#"{"a":1,"b":[true,null],"c":"x \" y"}"#.to_owned());
    for source in ["jsonl", "parquet"] {
        assert_eq!(stored(&world, source).await[0]["s"], expected, "{source}");
    }
}
