//! What came into each source, summed over its uploads and the partitions of its stream.

use std::collections::HashMap;

use serde::Serialize;
use sqlx::FromRow;
use tidemill_core::Time;

use crate::{Catalog, Error};

/// What came into one source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, FromRow)]
pub struct SourceSummary {
    /// The source.
    pub source: String,
    /// Files accepted.
    pub uploads: i64,
    /// Rows in the lake.
    pub rows: i64,
    /// Dead letters left.
    pub dead_letters: i64,
    /// The newest event time of any row.
    pub newest_event_at: Option<Time>,
    /// When the last file was accepted, real time.
    pub uploaded_at: Option<Time>,
    /// When the last batch of its stream was committed, real time.
    pub streamed_at: Option<Time>,
}

impl Catalog {
    /// What came into each declared source, in declared order; also those into which nothing came.
    pub async fn source_summaries(&self) -> Result<Vec<SourceSummary>, Error> {
        let mut found: HashMap<String, SourceSummary> = self
            .summaries(None)
            .await?
            .into_iter()
            .map(|summary| (summary.source.clone(), summary))
            .collect();
        let objects = self.objects().await?;
        let summary = |name: &String| {
            found
                .remove(name)
                .unwrap_or_else(|| SourceSummary { source: name.clone(), ..SourceSummary::default() })
        };
        Ok(objects.sources.keys().map(summary).collect())
    }

    /// What came into one source.
    pub async fn source_summary(&self, source: &str) -> Result<SourceSummary, Error> {
        let found = self.summaries(Some(source)).await?.pop();
        Ok(found.unwrap_or_else(|| SourceSummary { source: source.to_owned(), ..SourceSummary::default() }))
    }

    async fn summaries(&self, source: Option<&str>) -> Result<Vec<SourceSummary>, Error> {
        Ok(sqlx::query_as(include_str!("../queries/source/summary.sql"))
            .bind(source)
            .fetch_all(self.pool())
            .await?)
    }
}
