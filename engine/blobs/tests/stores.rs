//! The same story on a local folder and on a server that speaks the S3 protocol.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

use bytes::Bytes;
use tidemill_blobs::{BlobOptions, BlobRef, Blobs, Error};
use tidemill_core::Cause;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

async fn keeps_replaces_lists_fetches_and_deletes(blobs: &Blobs) {
    let blob = blobs.put(Bytes::from_static(b"flour")).await.unwrap();
    assert_eq!(blobs.put(Bytes::from_static(b"flour")).await.unwrap(), blob);
    assert_eq!(blobs.get(&blob).await.unwrap(), "flour");
    assert!(matches!(blobs.get(&BlobRef::of(b"sand")).await, Err(Error::Missing { .. })));

    blobs.put_at("lake/source/a.parquet", Bytes::from_static(b"one")).await.unwrap();
    let first = blobs.fetch("lake/source/a.parquet").await.unwrap();
    assert_eq!(std::fs::read(&first).unwrap(), b"one");
    blobs.put_at("lake/source/a.parquet", Bytes::from_static(b"three")).await.unwrap();
    assert_eq!(blobs.get_at("lake/source/a.parquet").await.unwrap(), "three");

    let large: Vec<u8> = (0..20_000_003_u32).map(|n| (n % 251) as u8).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &large).unwrap();
    blobs.put_file_at("lake/source/b.parquet", file.path()).await.unwrap();
    assert_eq!(BlobRef::of(&blobs.get_at("lake/source/b.parquet").await.unwrap()), BlobRef::of(&large));

    let listed = blobs.list("lake").await.unwrap();
    let shape: Vec<_> = listed.iter().map(|entry| (entry.path.as_str(), entry.size_bytes)).collect();
    assert_eq!(shape, [("lake/source/a.parquet", 5), ("lake/source/b.parquet", 20_000_003)]);
    assert_eq!(blobs.list("").await.unwrap().len(), 3);
    assert_eq!(blobs.list("lake/sou").await.unwrap(), []);

    blobs.delete_at("lake/source/a.parquet").await.unwrap();
    blobs.delete_at("lake/source/a.parquet").await.unwrap();
    assert!(!blobs.exists("lake/source/a.parquet").await.unwrap());
    let missing = blobs.fetch("lake/source/c.parquet").await;
    assert!(matches!(missing, Err(Error::Missing { path }) if path == "lake/source/c.parquet"));
}

#[tokio::test]
async fn a_folder_is_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(&BlobOptions::folder(folder.path().join("new"))).unwrap();
    keeps_replaces_lists_fetches_and_deletes(&blobs).await;
}

fn s3_at(endpoint: String, cache: &std::path::Path) -> Blobs {
    Blobs::open(&BlobOptions {
        url: "s3://bucket".to_owned(),
        endpoint: Some(endpoint),
        access_key: Some("test".to_owned()),
        secret_key: Some("test".to_owned()),
        cache: Some(cache.to_owned()),
        ..BlobOptions::default()
    })
    .unwrap()
}

/// A server that answers everything with `status`.
async fn always(status: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut head = [0; 4096];
            let _ = connection.read(&mut head).await.unwrap();
            let reply = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            connection.write_all(reply.as_bytes()).await.unwrap();
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn a_server_that_is_away_or_fails_is_an_outage_and_one_that_says_no_is_not() {
    let cache = tempfile::tempdir().unwrap();
    let free = tidemill_servers::Port::any().unwrap();
    let gone = format!("http://127.0.0.1:{}", free.number());
    for (endpoint, cause) in [
        (gone, Cause::Outage),
        (always("503 Service Unavailable").await, Cause::Outage),
        (always("400 Bad Request").await, Cause::Unknown),
        (always("403 Forbidden").await, Cause::Unknown),
    ] {
        let error = s3_at(endpoint, cache.path()).get_at("some/object").await.unwrap_err();
        assert_eq!(error.cause(), cause, "{error:?}");
    }
}

#[tokio::test]
async fn an_s3_server_is_a_store() {
    let cache = tempfile::tempdir().unwrap();
    let bucket = tidemill_testkit::s3::bucket().await.unwrap();
    let blobs = Blobs::open(&BlobOptions {
        url: format!("s3://{}/some/prefix", bucket.name),
        endpoint: Some(bucket.endpoint),
        access_key: Some(bucket.access_key),
        secret_key: Some(bucket.secret_key),
        region: Some(bucket.region),
        cache: Some(cache.path().to_owned()),
    })
    .unwrap();
    keeps_replaces_lists_fetches_and_deletes(&blobs).await;
    fetches_a_folder_anew_when_its_copy_was_changed(&blobs).await;
}

async fn fetches_a_folder_anew_when_its_copy_was_changed(blobs: &Blobs) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    std::fs::write(folder.path().join("data/model.txt"), "tree").unwrap();
    std::fs::write(folder.path().join("empty"), "").unwrap();
    let place = blobs.put_folder("artifacts", folder.path()).await.unwrap();
    for _ in 0..2 {
        let fetched = blobs.fetch_folder(&place).await.unwrap();
        assert_eq!(std::fs::read(fetched.join("data/model.txt")).unwrap(), b"tree");
        assert_eq!(std::fs::read(fetched.join("empty")).unwrap(), b"");
        assert!(!fetched.join("added").exists());
        std::fs::write(fetched.join("data/model.txt"), "changed where it lies").unwrap();
        std::fs::write(fetched.join("added"), "").unwrap();
    }
}
#[tokio::test]
async fn bytes_that_changed_on_disk_are_not_handed_out() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(&BlobOptions::folder(folder.path())).unwrap();
    let blob = blobs.put(Bytes::from_static(b"flour")).await.unwrap();
    std::fs::write(folder.path().join(blob.path()), b"sand").unwrap();
    assert!(matches!(blobs.get(&blob).await, Err(Error::Corrupt { .. })));
}

#[tokio::test]
async fn a_path_cannot_leave_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(&BlobOptions::folder(folder.path())).unwrap();
    for path in ["../secret", "a/../../secret", "a//b", "./a", ""] {
        let result = blobs.put_at(path, Bytes::new()).await;
        assert!(result.is_err(), "{path}");
    }
    assert!(matches!(blobs.get_at("../secret").await, Err(Error::Path { .. })));
}

#[test]
fn what_cannot_be_a_place_is_refused() {
    for url in ["", "/data", "file://data", "gs://bucket", "s3:///prefix"] {
        let refused = Blobs::open(&BlobOptions { url: url.into(), ..BlobOptions::default() });
        assert!(matches!(refused, Err(Error::Url { .. })), "{url}");
    }
}

#[test]
fn a_reference_reads_back_what_it_prints() {
    let blob = BlobRef::of(b"flour");
    assert_eq!(blob.to_string().parse::<BlobRef>().unwrap(), blob);
    for text in ["", "abc", &"é".repeat(32), &"+1".repeat(32)] {
        assert!(text.parse::<BlobRef>().is_err(), "{text}");
    }
}
