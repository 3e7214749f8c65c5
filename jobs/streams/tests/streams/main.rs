//! Streams against real Kafka and Postgres: each record is a row once, whatever ends in between.

mod world;

use std::collections::BTreeMap;

use serde_json::json;
use tidemill_catalog::{OffsetRange, PartitionDone, Reader, StreamRef};
use tidemill_core::{RunState, Time};
use tidemill_ingest::jobs::ReplayJob;
use tidemill_testkit::{
    kafka::{Producer, Record, Topic},
    run_until_idle,
};
use world::{NOW, World, soon};

/// An event of a user, numbered.
fn event(user: i64, n: i64) -> Record {
    let value = json!({ "user_id": user, "n": n, "at": "2024-05-31T12:00:00Z" });
    Record::new(user.to_string(), value.to_string())
}

async fn send(topic: &Topic, events: impl IntoIterator<Item = i64>) {
    let events: Vec<Record> = events.into_iter().map(|n| event(n % 7, n)).collect();
    Producer::new(topic).unwrap().send_all(&events).await.unwrap();
}

fn once(events: std::ops::Range<i64>) -> BTreeMap<i64, usize> {
    events.map(|n| (n, 1)).collect()
}

#[tokio::test]
async fn records_become_rows_and_bad_ones_dead_letters_with_their_place() {
    let world = World::new(2).await;
    let producer = Producer::new(&world.topic).unwrap();
    let at = NOW.parse::<Time>().unwrap().timestamp_millis();
    let records = [
        // The key says whose it is where the value doesn't.
        Record::new("7", r#"{"n": 1, "at": "2024-05-31T12:00:00Z"}"#).partition(0),
        Record::new("7", r#"{"user_id": 8, "n": 2, "at": "2024-05-31T12:00:00Z", "more": {}}"#).partition(0),
        Record::new("7", r#"{"user_id": 7, "n": "many", "at": "2024-05-31T12:00:00Z"}"#).partition(0),
        Record::new("7", "no JSON").partition(0),
        Record::new("7", b"\xff\xfe").partition(0),
        Record::tombstone("9").partition(1).at(at),
        Record::keyless(r#"{"n": 3, "at": "2024-05-31T12:00:00Z"}"#).partition(1),
    ];
    producer.send_all(&records).await.unwrap();
    let gateway = world.gateway();
    world.reached(7).await;
    let rows = world.rows().await;
    let told: Vec<_> = rows
        .iter()
        .map(|row| {
            json!([row["user_id"], row["n"], row["deleted"], row["created_at"], row["seq"]]).to_string()
        })
        .collect();
    let seq = |partition: i64, offset: i64| (1_i64 << 62) + (partition << 44) + offset;
    assert_eq!(
        told,
        [
            format!(r#"[7,1,false,"2024-06-01T00:00:00Z",{}]"#, seq(0, 0)),
            format!(r#"[8,2,false,"2024-06-01T00:00:00Z",{}]"#, seq(0, 1)),
            format!(r#"[9,null,true,"2024-06-01T00:00:00Z",{}]"#, seq(1, 0)),
        ]
    );
    assert_eq!(rows[2]["valid_at"], json!(NOW));
    assert_eq!(
        world.dead().await,
        [
            r#"0:2 `n` should be int, but is `many` {"user_id":"7","n":"many","at":"2024-05-31T12:00:00Z","gone":null}"#,
            r#"0:3 is not a JSON object: expected ident at character 2 "no JSON""#,
            r#"0:4 is not a JSON object: expected value at character 1 ["base64","//4="]"#,
            r#"1:1 `user_id` is null {"user_id":null,"n":"3","at":"2024-05-31T12:00:00Z","gone":null}"#,
        ]
    );
    let partitions = world.partitions().await;
    assert_eq!(partitions.iter().map(|of| of.next_offset.unwrap()).collect::<Vec<_>>(), [5, 2]);
    soon(async || world.partitions().await.iter().all(|of| of.reader.as_deref() == Some("gateway"))).await;
    let summary = world.catalog.source_summary("events").await.unwrap();
    assert_eq!((summary.rows, summary.dead_letters, summary.uploads), (3, 4, 0));
    let lineage = world.catalog.lineage_down(&format!("topic/{}", world.topic.name)).await.unwrap();
    assert!(lineage.iter().any(|edge| edge.to == "source/events"), "{lineage:?}");
    gateway.drain().await;
    assert!(world.partitions().await.iter().all(|of| of.reader.is_none()));
}

#[tokio::test]
async fn a_dead_letter_becomes_a_row_once_its_source_takes_it() {
    let world = World::new(1).await;
    let gateway = world.gateway();
    send(&world.topic, [2_000_000, 1, 2_000_001]).await;
    world.reached(3).await;
    assert_eq!(world.dead().await.len(), 2);
    let yaml = world.yaml("").replace("max: 1000000", "max: 2000000");
    world.apply(&yaml).await;
    let mut tx = world.engine.store.begin().await.unwrap();
    world.engine.store.enqueue(&mut tx, ReplayJob::of("events")).await.unwrap();
    tx.commit().await.unwrap();
    run_until_idle(&world.engine.store, tidemill_ingest::jobs::jobs(&world.ingest)).await.unwrap();
    assert_eq!(world.counted().await, BTreeMap::from([(1, 1), (2_000_000, 1)]));
    assert_eq!(world.dead().await.len(), 1);
    let partitions = world.partitions().await;
    assert_eq!((partitions[0].rows, partitions[0].dead_letters), (2, 1));
    gateway.drain().await;
}

#[tokio::test]
async fn gateways_that_are_killed_and_others_that_come_bring_each_record_once() {
    let world = World::new(4).await;
    let sending = async {
        for hundred in 0..20 {
            send(&world.topic, hundred * 100..(hundred + 1) * 100).await;
        }
    };
    let breaking = async {
        let mut gateways = Vec::new();
        for round in 0..8 {
            gateways.push(world.gateway());
            let so_far = world.rows_in_lake().await;
            soon(async || world.rows_in_lake().await > so_far || world.rows_in_lake().await == 2_000).await;
            if round % 3 != 2 {
                // As by `kill -9`: nothing is handed over.
                drop(gateways.remove(0));
            }
        }
        gateways
    };
    let ((), gateways) = tokio::join!(sending, breaking);
    world.reached(2_000).await;
    assert_eq!(world.counted().await, once(0..2_000));
    // The records of a key kept their order.
    let mut newest = BTreeMap::new();
    for row in world.rows().await {
        let (user, n) = (row["user_id"].as_i64().unwrap(), row["n"].as_i64().unwrap());
        assert!(newest.insert(user, n).is_none_or(|before| before < n), "{user}: {n}");
    }
    for gateway in gateways {
        gateway.drain().await;
    }
}

#[tokio::test]
async fn partitions_are_shared_and_new_ones_are_found() {
    let world = World::new(4).await;
    let (first, second) = (world.gateway(), world.gateway());
    let held = async |readers: usize, partitions: usize| {
        let of = world.partitions().await;
        let by: std::collections::BTreeSet<_> = of.iter().filter_map(|of| of.holder).collect();
        of.len() == partitions && of.iter().all(|of| of.holder.is_some()) && by.len() == readers
    };
    soon(async || held(2, 4).await).await;
    second.drain().await;
    soon(async || held(1, 4).await).await;
    world.topic.grow_to(6).await.unwrap();
    soon(async || held(1, 6).await).await;
    let producer = Producer::new(&world.topic).unwrap();
    producer.send(&event(1, 5).partition(5)).await.unwrap();
    world.reached(1).await;
    first.drain().await;
}

#[tokio::test]
async fn what_kafka_no_longer_has_is_written_down_and_what_follows_is_read() {
    let world = World::new(1).await;
    let gateway = world.gateway();
    send(&world.topic, 0..3).await;
    world.reached(3).await;
    gateway.drain().await;
    send(&world.topic, 3..10).await;
    world.topic.delete_records(0, 8).await.unwrap();
    let gateway = world.gateway();
    world.reached(5).await;
    assert_eq!(world.counted().await.into_keys().collect::<Vec<_>>(), [0, 1, 2, 8, 9]);
    let gaps = world.catalog.stream_gaps("events", 10).await.unwrap();
    let told: Vec<_> = gaps.iter().map(|gap| (gap.from_offset, gap.to_offset, &*gap.reason)).collect();
    assert_eq!(told, [(3, 8, "retention")]);

    gateway.drain().await;
    // Its offsets begin again: what is in it is read, not taken for what was read before, and shares no `seq` with it. Once the
    // topic has records when it is met, once it is empty.
    for (round, empty) in [(0, false), (1, true)] {
        world.topic.delete().await.unwrap();
        world.topic.create(1, &[]).await.unwrap();
        let first = 20 + 2 * round;
        if !empty {
            send(&world.topic, first..first + 2).await;
        }
        let next = world.gateway();
        soon(async || world.catalog.stream_gaps("events", 10).await.unwrap().len() == 2 + usize::from(empty))
            .await;
        if empty {
            send(&world.topic, first..first + 2).await;
        }
        world.reached(7 + 2 * i64::from(empty)).await;
        assert_eq!(world.catalog.stream_gaps("events", 10).await.unwrap()[0].reason, "topic made anew");
        next.drain().await;
    }
    let mut read = vec![0, 1, 2, 8, 9];
    read.extend(20..24);
    assert_eq!(world.counted().await.into_keys().collect::<Vec<_>>(), read);
    let seqs: std::collections::BTreeSet<_> =
        world.rows().await.iter().map(|row| row["seq"].as_i64().unwrap()).collect();
    assert_eq!(seqs.len(), read.len());
}

#[tokio::test]
async fn records_of_transactions_that_were_aborted_are_never_rows() {
    let world = World::new(1).await;
    let gateway = world.gateway();
    let producer = Producer::transactional(&world.topic).await.unwrap();
    for n in 0..6 {
        producer.begin().unwrap();
        producer.send(&event(1, n)).await.unwrap();
        if n % 2 == 0 { producer.commit().await.unwrap() } else { producer.abort().await.unwrap() }
    }
    world.reached(3).await;
    assert_eq!(world.counted().await.into_keys().collect::<Vec<_>>(), [0, 2, 4]);
    assert!(world.catalog.stream_gaps("events", 10).await.unwrap().is_empty());
    gateway.drain().await;
}

#[tokio::test]
async fn reading_begins_where_the_source_says() {
    for (start, first) in [("latest", 10), ("\"2024-05-02T00:00:00Z\"", 5)] {
        let world = World::new(1).await;
        world.declare(&format!(", start: {start}")).await;
        let producer = Producer::new(&world.topic).unwrap();
        let at = |day: &str| format!("{day}T00:00:00Z").parse::<Time>().unwrap().timestamp_millis();
        for n in 0..10 {
            let day = if n < 5 { "2024-05-01" } else { "2024-05-02" };
            producer.send(&event(1, n).at(at(day))).await.unwrap();
        }
        let gateway = world.gateway();
        soon(async || world.partitions().await.iter().any(|of| of.next_offset.is_some())).await;
        send(&world.topic, 10..12).await;
        world.reached(12 - first).await;
        assert_eq!(world.counted().await, once(first..12), "{start}");
        gateway.drain().await;
    }
}

#[tokio::test]
async fn a_batch_whose_run_was_cancelled_is_brought_by_another() {
    let world = World::new(1).await;
    // While somebody holds the declarations, no batch is committed.
    let mut locked = world.engine.store.begin().await.unwrap();
    world.catalog.lock_objects(&mut locked).await.unwrap();
    let gateway = world.gateway();
    send(&world.topic, 0..3).await;
    soon(async || world.partitions().await.iter().any(|of| of.run.is_some())).await;
    let run = world.partitions().await[0].run.unwrap();
    drop(gateway);
    let store = &world.engine.store;
    store.cancel_run(run, "by hand").await.unwrap();
    locked.commit().await.unwrap();
    let gateway = world.gateway();
    world.reached(3).await;
    assert_eq!(world.counted().await, once(0..3));
    assert_eq!(store.run(run).await.unwrap().run.state, RunState::Cancelled);
    gateway.drain().await;
}

#[tokio::test]
async fn a_value_of_csv_is_one_row_or_a_dead_letter() {
    let world = World::new(1).await;
    world.declare(", format: csv").await;
    let values: [&[u8]; 8] = [
        b"1,1,2024-05-31T12:00:00Z,false",
        b"\"2\",2,2024-05-31T12:00:00Z,false\r\n",
        b",3,2024-05-31T12:00:00Z,",
        b"\"",
        b"\"\xc3\xa9",
        b"1,4,2024-05-31T12:00:00Z,false\n1,5,2024-05-31T12:00:00Z,false",
        b"",
        b"1,6",
    ];
    let records: Vec<Record> = values.iter().map(|value| Record::new("7", value)).collect();
    Producer::new(&world.topic).unwrap().send_all(&records).await.unwrap();
    let gateway = world.gateway();
    world.reached(8).await;
    let rows = world.rows().await;
    let told: Vec<_> = rows.iter().map(|row| json!([row["user_id"], row["n"]]).to_string()).collect();
    assert_eq!(told, ["[1,1]", "[2,2]", "[7,3]"]);
    let dead = world.dead().await;
    let whys: Vec<_> = dead.iter().map(|letter| letter.rsplit_once(' ').unwrap().0).collect();
    assert_eq!(dead.len(), 5, "{whys:?}");
    assert!(whys[2].ends_with("holds more than one row"), "{whys:?}");
    assert!(whys[3].ends_with("holds no row"), "{whys:?}");
    gateway.drain().await;
}

#[tokio::test]
async fn no_two_records_of_a_source_share_their_seq_whatever_it_read_before() {
    let world = World::new(1).await;
    let gateway = world.gateway();
    send(&world.topic, 0..2).await;
    world.reached(2).await;
    let other = Topic::fresh(1).await.unwrap();
    send(&other, 2..4).await;
    world.apply(&world.yaml("").replace(&world.topic.name, &other.name)).await;
    world.reached(4).await;
    assert_eq!(world.counted().await, once(0..4));
    let seqs: std::collections::BTreeSet<_> =
        world.rows().await.iter().map(|row| row["seq"].as_i64().unwrap()).collect();
    assert_eq!(seqs.len(), 4);
    gateway.drain().await;
}

#[tokio::test]
async fn a_moment_never_falls_whatever_the_clock_of_the_next_reader_says() {
    let world = World::new(1).await;
    let stream = StreamRef {
        source: "events".to_owned(),
        cluster: "cluster".to_owned(),
        topic: world.topic.name.clone(),
    };
    world.catalog.discover_partitions(&stream, 1).await.unwrap();
    world.catalog.start_partitions(&stream, &[(0, 0)]).await.unwrap();
    let cut = async |from: i64, now: &str| {
        let id = uuid::Uuid::now_v7();
        let reader = Reader { id, name: "reader".to_owned(), lease: std::time::Duration::from_mins(1) };
        world.catalog.share_partitions(&reader, &stream, &[], None).await.unwrap();
        let range = OffsetRange { partition: 0, generation: 0, from, to: from + 1 };
        let mut tx = world.engine.store.begin().await.unwrap();
        let moment = world
            .catalog
            .cut_batch(&mut tx, id, &stream, (id, &[range]), now.parse().unwrap())
            .await
            .unwrap();
        let done = PartitionDone { range, rows: 1, dead_letters: 0, newest_event_at: None, reached_at: None };
        assert!(world.catalog.finish_batch(&mut tx, &stream, id, &[done]).await.unwrap());
        // What was finished is not finished again.
        assert!(!world.catalog.finish_batch(&mut tx, &stream, id, &[done]).await.unwrap());
        tx.commit().await.unwrap();
        world.catalog.leave_stream(id, "events").await.unwrap();
        moment.unwrap()
    };
    let first = cut(0, "2024-06-01T00:00:05Z").await;
    assert_eq!(cut(1, "2024-06-01T00:00:00Z").await, first);
    assert!(cut(2, "2024-06-01T00:00:06Z").await > first);
}
