//! Broken files of labels, and broken Arrow streams over gRPC.

use std::sync::Arc;

use arrow::array::{Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use tidemill_proto::{
    Reason,
    features::v1::{
        GetHistoricalFeaturesRequest, historical_feature_service_client::HistoricalFeatureServiceClient,
    },
};
use tidemill_testkit::fuzz::{Dice, memory_peak_mib};
use tonic::Code;

use crate::world::World;

const FILES: usize = 500;
const STREAMS: usize = 700;

fn rows() -> RecordBatch {
    let moments = TimestampMicrosecondArray::from(vec![1_717_000_000_000_000, 1_718_000_000_000_000, 0]);
    RecordBatch::try_from_iter([
        ("customer_id", Arc::new(Int64Array::from(vec![1, 2, i64::MAX])) as _),
        (
            "region",
            Arc::new(StringArray::from(vec![Some("a"), Some("long enough to be worth a dictionary"), None]))
                as _,
        ),
        ("label_ts", Arc::new(moments.with_timezone("UTC")) as _),
        ("more", Arc::new(Float64Array::from(vec![1.5, f64::NAN, f64::INFINITY])) as _),
    ])
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_files_of_labels_are_joined_or_refused() {
    let (world, mut dice) = (World::new().await, Dice::new("broken_files_of_labels"));
    let before = memory_peak_mib();
    let csv =
        b"customer_id,region,label_ts,more\n1,a,2024-06-01T00:00:00Z,\"x,\ny\"\n2,\"b\"\"c\",2024-05-01,\n"
            .to_vec();
    let jsonl = b"{\"customer_id\": 1, \"region\": \"a\", \"label_ts\": \"2024-06-01T00:00:00Z\", \"more\": {\"deep\": [1, {\"x\": null}]}}\n{\"customer_id\": \"2\", \"region\": \"b\", \"label_ts\": \"2024-05-01\"}\n".to_vec();
    let parquet = tidemill_rows::parquet::write(&rows()).unwrap().to_vec();
    let path =
        |format: &str, out: &str| format!("/v1/datasets/build?format={format}&inputs=last_order&out={out}");
    let octets = "content-type: application/octet-stream\r\n";
    for (format, whole) in [("csv", &csv), ("jsonl", &jsonl), ("parquet", &parquet)] {
        for out in ["parquet", "jsonl", "csv"] {
            let (status, reply) = world.call("POST", &path(format, out), octets, whole).await;
            assert_eq!((status, reply["error"]["code"].as_str()), (200, None), "{format} → {out}: {reply}");
            if out == "csv" && format != "jsonl" {
                let head = "customer_id,region,label_ts,more,amount\n1,a,";
                assert!(reply.as_str().unwrap().starts_with(head), "{reply}");
            }
        }
        for _ in 0..FILES / 3 {
            let broken = dice.broken(whole);
            let out = *dice.pick(&["parquet", "csv", "jsonl"]);
            let (status, reply) = world.call("POST", &path(format, out), octets, &broken).await;
            let told = reply["error"]["code"].as_str().is_some_and(|code| code.starts_with("TM"));
            assert!(
                status == 200 || ((400..500).contains(&status) && told),
                "{format} {broken:?}: {status} {reply}"
            );
            let message = reply["error"]["message"].as_str().unwrap_or_default();
            assert!(!message.contains("/tmp"), "a path of ours: {message}");
        }
    }
    let deep = format!("{{\"customer_id\": 1, \"more\": {}{}}}\n", "[".repeat(2_000), "]".repeat(2_000));
    let (status, reply) = world.call("POST", &path("jsonl", "jsonl"), octets, deep.as_bytes()).await;
    assert_eq!((status, reply["error"]["code"].as_str()), (422, Some("TM0503")), "{reply}");
    let (status, reply) = world.call("POST", &path("parquet", "jsonl"), octets, b"PAR1 no PAR1").await;
    assert_eq!((status, reply["error"]["code"].as_str()), (422, Some("TM0503")), "{reply}");
    let grown = memory_peak_mib() - before;
    assert!(grown < 500, "{grown} MiB more");
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_streams_of_labels_fail_their_own_call() {
    let (world, mut dice) = (World::new().await, Dice::new("broken_streams_of_labels"));
    let before = memory_peak_mib();
    let client = HistoricalFeatureServiceClient::connect(format!("http://{}", world.address)).await.unwrap();
    let whole = tidemill_rows::ipc::encode(&rows().schema(), &[rows(), rows()]).unwrap().to_vec();
    let ask = async |labels: Vec<u8>, known_at: &str| {
        let (features, known_at) = (vec!["last_order".to_owned()], known_at.to_owned());
        let request = GetHistoricalFeaturesRequest { features, labels, known_at, known_at_time: None };
        client.clone().get_historical_features(request).await.map(|_| ())
    };
    ask(whole.clone(), "").await.unwrap();
    for _ in 0..STREAMS {
        let known_at = if dice.below(9) == 0 { dice.text() } else { String::new() };
        if let Err(status) = ask(dice.broken(&whole), &known_at).await {
            assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
            assert!(Reason::of(&status).is_some(), "{status:?}");
        }
    }
    ask(whole, "label").await.unwrap();
    let grown = memory_peak_mib() - before;
    assert!(grown < 500, "{grown} MiB more");
}
