//! Lineage: what was made from what, by which run, code and lake version.
//!
//! Edges are drawn in the transaction that makes the thing, so there is no thing without its origin.

use std::fmt;

use serde::Serialize;
use tidemill_core::{DatasetId, RunId, Time, UploadId};
use tidemill_store::Tx;
use uuid::Uuid;

use crate::{Catalog, Error};

/// A thing in the lineage. Prints, and is stored, as `view/route_week@1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Node {
    /// An accepted file.
    Upload(UploadId),
    /// A topic of Kafka.
    Topic(String),
    /// A source.
    Source(String),
    /// A column of a source.
    Column(String, String),
    /// A version of a view.
    View(String, i32),
    /// A feature of a version of a view.
    Feature(String, i32, String),
    /// A label.
    Label(String),
    /// A training set.
    Dataset(DatasetId),
    /// A model's file that a person gave: its name, and its content's SHA-256.
    File(String, String),
    /// A version of a model.
    Model(String, i32),
    /// The predictions of a version of a model.
    Predictions(String, i32),
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upload(id) => write!(f, "upload/{id}"),
            Self::Topic(name) => write!(f, "topic/{name}"),
            Self::Source(name) => write!(f, "source/{name}"),
            Self::Column(source, column) => write!(f, "column/{source}.{column}"),
            Self::View(name, version) => write!(f, "view/{name}@{version}"),
            Self::Feature(view, version, feature) => write!(f, "feature/{view}.{feature}@{version}"),
            Self::Label(name) => write!(f, "label/{name}"),
            Self::Dataset(id) => write!(f, "dataset/{id}"),
            Self::File(name, sha256) => write!(f, "file/{name}@{}", sha256.get(..12).unwrap_or(sha256)),
            Self::Model(name, version) => write!(f, "model/{name}@{version}"),
            Self::Predictions(model, version) => write!(f, "predictions/{model}@{version}"),
        }
    }
}

/// `to` was made from `from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// What it was made from.
    pub from: Node,
    /// What was made.
    pub to: Node,
    /// The run that made it.
    pub run: Option<RunId>,
    /// The project's code in force.
    pub code_hash: Option<String>,
    /// The lake version that was made or read.
    pub lake_version: Option<i64>,
}

impl Edge {
    /// An edge whose circumstances are not known.
    pub fn new(from: Node, to: Node) -> Self {
        Self { from, to, run: None, code_hash: None, lake_version: None }
    }
}

/// An edge as read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EdgeRow {
    /// What it was made from, e.g. `source/arrivals`.
    pub from: String,
    /// What was made, e.g. `view/route_week@1`.
    pub to: String,
    /// The last run that made it so.
    pub run: Option<RunId>,
    /// The project's code in force then.
    pub code_hash: Option<String>,
    /// The lake version that was made or read then.
    pub lake_version: Option<i64>,
    /// When it was last drawn, real time.
    pub updated_at: Time,
}

impl Catalog {
    /// Draws edges. Safe to repeat: an edge that is there takes the newest run, code and lake version.
    pub async fn lineage(&self, tx: &mut Tx, edges: &[Edge]) -> Result<(), Error> {
        draw(tx, edges).await
    }

    /// Edges from which an object was made, near ones first. `object` is what [`Node`] prints; without `@VERSION`
    /// it means all versions.
    pub async fn lineage_up(&self, object: &str) -> Result<Vec<EdgeRow>, Error> {
        self.walk(object, include_str!("../queries/lineage/up.sql")).await
    }

    /// Edges to what was made from an object, near ones first.
    pub async fn lineage_down(&self, object: &str) -> Result<Vec<EdgeRow>, Error> {
        self.walk(object, include_str!("../queries/lineage/down.sql")).await
    }

    /// Every object that has lineage, without its version, e.g. `view/route_week`.
    pub async fn lineage_objects(&self) -> Result<Vec<String>, Error> {
        let rows: Vec<(String,)> =
            sqlx::query_as(include_str!("../queries/lineage/known.sql")).fetch_all(self.pool()).await?;
        Ok(rows.into_iter().map(|(object,)| object).collect())
    }

    async fn walk(&self, object: &str, statement: &'static str) -> Result<Vec<EdgeRow>, Error> {
        let named: Vec<(String,)> = sqlx::query_as(include_str!("../queries/lineage/objects.sql"))
            .bind(object)
            .fetch_all(self.pool())
            .await?;
        let named: Vec<String> = named.into_iter().map(|(object,)| object).collect();
        let rows: Vec<StoredEdge> = sqlx::query_as(statement).bind(named).fetch_all(self.pool()).await?;
        let edge = |(from, to, run, code_hash, lake_version, updated_at): (_, _, Option<Uuid>, _, _, _)| {
            EdgeRow { from, to, run: run.map(RunId::from), code_hash, lake_version, updated_at }
        };
        Ok(rows.into_iter().map(edge).collect())
    }
}

/// From, to, run, code hash, lake version, time of the last drawing.
type StoredEdge = (String, String, Option<Uuid>, Option<String>, Option<i64>, Time);

pub(crate) async fn draw(tx: &mut Tx, edges: &[Edge]) -> Result<(), Error> {
    // One statement can't touch a row twice, and locks are taken in one order.
    let mut edges: Vec<(String, String, &Edge)> =
        edges.iter().map(|edge| (edge.from.to_string(), edge.to.to_string(), edge)).collect();
    edges.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    edges.dedup_by(|a, b| (&a.0, &a.1) == (&b.0, &b.1));
    if edges.is_empty() {
        return Ok(());
    }
    sqlx::query(include_str!("../queries/lineage/draw.sql"))
        .bind(edges.iter().map(|(from, ..)| from.as_str()).collect::<Vec<_>>())
        .bind(edges.iter().map(|(_, to, _)| to.as_str()).collect::<Vec<_>>())
        .bind(edges.iter().map(|(.., edge)| edge.run.map(RunId::as_uuid)).collect::<Vec<_>>())
        .bind(edges.iter().map(|(.., edge)| edge.code_hash.as_deref()).collect::<Vec<_>>())
        .bind(edges.iter().map(|(.., edge)| edge.lake_version).collect::<Vec<_>>())
        .execute(tx.conn())
        .await?;
    Ok(())
}
