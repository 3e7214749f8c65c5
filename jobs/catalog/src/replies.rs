//! Answers to requests that carried an idempotency key, so that a repeat gets the first one's.
//!
//! The key is claimed before the work and the answer kept after it. A server that dies in between leaves a claim that
//! is free again after a minute; so what is asked for must bear a repeat by itself, as every write here does.

use serde_json::Value;
use sqlx::types::Json;

use crate::{Catalog, Error, code::hex_sha256};

/// What a key stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// Nobody asked before: do the work, then [`Catalog::keep_reply`] or [`Catalog::release_reply`].
    Free,
    /// It was answered so.
    Answered(Value),
    /// The first request is still at work.
    Busy,
    /// The key was used with another body.
    Differs,
}

impl Catalog {
    /// Claims a key for one path (method and path) and the request's body.
    pub async fn claim_reply(&self, key: &str, path: &str, body: &[u8]) -> Result<Claim, Error> {
        let request = hex_sha256(body);
        let claimed: Option<(bool,)> = sqlx::query_as(include_str!("../queries/reply/claim.sql"))
            .bind(key)
            .bind(path)
            .bind(&request)
            .fetch_optional(self.pool())
            .await?;
        if claimed.is_some() {
            return Ok(Claim::Free);
        }
        let found: Option<(String, Option<Json<Value>>)> =
            sqlx::query_as(include_str!("../queries/reply/find.sql"))
                .bind(key)
                .bind(path)
                .fetch_optional(self.pool())
                .await?;
        Ok(match found {
            Some((first, _)) if first != request => Claim::Differs,
            Some((_, Some(Json(body)))) => Claim::Answered(body),
            // Given back just now: as good as busy, the caller asks again.
            Some((_, None)) | None => Claim::Busy,
        })
    }

    /// Keeps the answer.
    pub async fn keep_reply(&self, key: &str, path: &str, body: &Value) -> Result<(), Error> {
        sqlx::query(include_str!("../queries/reply/keep.sql"))
            .bind(key)
            .bind(path)
            .bind(body.to_string())
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Gives the key back after the work failed.
    pub async fn release_reply(&self, key: &str, path: &str) -> Result<(), Error> {
        sqlx::query(include_str!("../queries/reply/release.sql"))
            .bind(key)
            .bind(path)
            .execute(self.pool())
            .await?;
        Ok(())
    }
}
