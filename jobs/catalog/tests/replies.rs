//! Idempotency keys, against a real database.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

use serde_json::json;
use tidemill_catalog::{Catalog, Claim};
use tidemill_testkit::{Engine, engine_with};

/// The database lives as long as the engine does.
async fn catalog() -> (Engine, Catalog) {
    let migrate = async |store: &tidemill_store::Store| Ok(Catalog::new(store.clone()).migrate().await?);
    let engine = engine_with("catalog", migrate).await.unwrap();
    let catalog = Catalog::new(engine.store.clone());
    (engine, catalog)
}

#[tokio::test]
async fn a_key_is_answered_once_and_given_back_when_the_work_fails() {
    let (_engine, catalog) = catalog().await;
    let claim =
        async |body: &'static str| catalog.claim_reply("k", "POST /v1/runs", body.as_bytes()).await.unwrap();

    assert_eq!(claim("a").await, Claim::Free);
    assert_eq!(claim("a").await, Claim::Busy);
    catalog.release_reply("k", "POST /v1/runs").await.unwrap();
    assert_eq!(claim("a").await, Claim::Free, "what failed may be asked for again");
    catalog.keep_reply("k", "POST /v1/runs", &json!({ "id": 1 })).await.unwrap();
    assert_eq!(claim("a").await, Claim::Answered(json!({ "id": 1 })));
    catalog.release_reply("k", "POST /v1/runs").await.unwrap();
    assert_eq!(claim("a").await, Claim::Answered(json!({ "id": 1 })), "an answer stays");
    assert_eq!(claim("b").await, Claim::Differs);
    let elsewhere = catalog.claim_reply("k", "POST /v1/clock", b"b").await.unwrap();
    assert_eq!(elsewhere, Claim::Free, "a key belongs to one path");
}

#[tokio::test]
async fn a_claim_of_a_server_that_died_is_taken_over() {
    let (_engine, catalog) = catalog().await;
    assert_eq!(catalog.claim_reply("k", "p", b"a").await.unwrap(), Claim::Free);
    sqlx::query("UPDATE catalog.reply SET claimed_at = now() - interval '2 minutes'")
        .execute(catalog.pool())
        .await
        .unwrap();
    assert_eq!(catalog.claim_reply("k", "p", b"b").await.unwrap(), Claim::Differs);
    assert_eq!(catalog.claim_reply("k", "p", b"a").await.unwrap(), Claim::Free);
    assert_eq!(catalog.claim_reply("k", "p", b"a").await.unwrap(), Claim::Busy);
}
