//! How far each view version has consumed the lake.
//!
//! Moved in the transaction that publishes the rows, so a position never promises rows that aren't there.

use serde::Serialize;
use tidemill_core::Time;
use tidemill_store::Tx;

use crate::{Catalog, Error};

/// How far a view version is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Position {
    /// The view.
    pub view: String,
    /// Its version.
    pub version: i32,
    /// Commits of its inputs up to this lake version are consumed.
    pub lake_version: i64,
    /// Source commits up to this lake version are in its rows; what waiting for a view means.
    pub reached: i64,
    /// Rows with `valid_at` up to this moment of the data clock have been written to Redis.
    pub data_clock: Time,
    /// When it last moved, real time.
    pub moved_at: Time,
}

type PositionRow = (String, i32, i64, i64, Time, Time);

impl From<PositionRow> for Position {
    fn from((view, version, lake_version, reached, data_clock, moved_at): PositionRow) -> Self {
        Self { view, version, lake_version, reached, data_clock, moved_at }
    }
}

impl Catalog {
    /// Positions of a view's versions, or of all views, by name and newest version first.
    pub async fn positions(&self, view: Option<&str>) -> Result<Vec<Position>, Error> {
        let rows: Vec<PositionRow> = sqlx::query_as(include_str!("../queries/position/list.sql"))
            .bind(view)
            .fetch_all(self.pool())
            .await?;
        Ok(rows.into_iter().map(Position::from).collect())
    }

    /// How far a view version is; `None` before its first rows.
    pub async fn position(&self, view: &str, version: i32) -> Result<Option<Position>, Error> {
        Ok(self.positions(Some(view)).await?.into_iter().find(|position| position.version == version))
    }

    /// Moves a view version forward; never back. Safe to repeat.
    pub async fn move_position(
        &self,
        tx: &mut Tx,
        view: &str,
        version: i32,
        (lake_version, reached): (i64, i64),
        data_clock: Time,
    ) -> Result<(), Error> {
        sqlx::query(include_str!("../queries/position/move.sql"))
            .bind(view)
            .bind(version)
            .bind(lake_version)
            .bind(reached)
            .bind(data_clock)
            .execute(tx.conn())
            .await?;
        Ok(())
    }

    /// Forgets how far a view version is: it begins anew. Safe to repeat.
    pub async fn forget_position(&self, tx: &mut Tx, view: &str, version: i32) -> Result<(), Error> {
        let forget = sqlx::query(include_str!("../queries/position/forget.sql")).bind(view).bind(version);
        forget.execute(tx.conn()).await?;
        Ok(())
    }

    /// The next place in the order of publications of the live set.
    pub async fn next_live_order(&self) -> Result<i64, Error> {
        let (order,): (i64,) =
            sqlx::query_as("SELECT nextval('catalog.live_order')").fetch_one(self.pool()).await?;
        Ok(order)
    }

    /// Lets the order go on after `order`, where it is behind: Postgres came back older than what was published.
    pub async fn raise_live_order(&self, order: i64) -> Result<(), Error> {
        sqlx::query("SELECT setval('catalog.live_order', $1) FROM catalog.live_order WHERE last_value < $1")
            .bind(order)
            .execute(self.pool())
            .await?;
        Ok(())
    }
}
