//! What is sent arrives: on a real broker, once, and each user's events in their order.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
};
use tidemill_generate::{Error, Kafka, Kind, Population, Shares, Tally, Timeline, Users, send};
use tidemill_testkit::kafka::Topic;

const ROWS: u64 = 5_000;

fn users() -> Users {
    let from = "2026-03-01T00:00:00Z".parse().unwrap();
    let shares = Shares { late: 0.02, doubled: 0.02, out_of_order: 0.02, malformed: 0.02 };
    Users::new(
        Population { seed: 7, users: 200, since: from },
        Timeline::at_rate(from, 100.0),
        shares,
        Some(ROWS),
    )
}

/// Texts by key, in order.
fn by_key(records: impl Iterator<Item = (String, String)>) -> BTreeMap<String, Vec<String>> {
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    records.for_each(|(key, text)| texts.entry(key).or_default().push(text));
    texts
}

/// Key and value of every record of a topic; those of a partition in their order.
async fn records(topic: &Topic, partitions: i32) -> Vec<(String, String)> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &topic.brokers).set("group.id", "none");
    let consumer: BaseConsumer = config.create().unwrap();
    let (mut from, mut left) = (TopicPartitionList::new(), 0);
    for partition in 0..partitions {
        let (first, end) = topic.offsets(partition).await.unwrap();
        from.add_partition_offset(&topic.name, partition, Offset::Beginning).unwrap();
        left += end - first;
    }
    consumer.assign(&from).unwrap();
    let mut records = Vec::new();
    while left > 0 {
        let record = consumer.poll(Duration::from_secs(120)).unwrap().unwrap();
        let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
        records.push((text(record.key()), text(record.payload())));
        left -= 1;
    }
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_arrives_once_and_in_order() {
    let topic = Topic::fresh(3).await.unwrap();
    let kafka = Kafka::new(&topic.brokers, None).unwrap();
    kafka.with_topics(&[&topic.name], 3).await.unwrap();
    let tally = Arc::new(Tally::default());
    let dealt = (0..3).map(|mine| users().dealt((mine, 3), &topic.name, None));
    send(&kafka, &tally, dealt).await.unwrap();
    tally.complete().unwrap();

    let expected: Vec<_> = users().collect();
    let counted = tally.acknowledged();
    for kind in Kind::ALL {
        let of_kind = expected.iter().filter(|record| record.kind == kind).count();
        assert_eq!(counted[kind as usize], of_kind as u64, "{kind:?}");
    }
    let records = records(&topic, 3).await;
    let expected = by_key(expected.into_iter().map(|record| (record.user_id.to_string(), record.text)));
    assert_eq!(by_key(records.into_iter()), expected);
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_named() {
    let kafka = Kafka::new("127.0.0.1:1", None).unwrap();
    let refused = kafka.with_topics(&["users"], 1).await.unwrap_err();
    assert!(matches!(refused, Error::Unreachable { .. }), "{refused}");
    assert_eq!(refused.fault().message, "no Kafka broker answers at 127.0.0.1:1");
}
