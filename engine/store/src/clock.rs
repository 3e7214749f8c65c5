//! The data clock: one row, the truth that Redis only repeats.

use sqlx::{Row as _, types::Json};
use tidemill_core::{DataClock, Time};

use crate::{Error, Store, Tx};

impl Store {
    /// The data clock.
    pub async fn data_clock(&self) -> Result<DataClock, Error> {
        let row = sqlx::query("SELECT clock FROM data_clock").fetch_one(&self.pool).await?;
        Ok(row.try_get::<Json<DataClock>, _>(0)?.0)
    }

    /// Sets the data clock. Whether it may move so is for the caller to judge, with the row locked by this read.
    pub async fn lock_data_clock(&self, tx: &mut Tx) -> Result<DataClock, Error> {
        let row = sqlx::query("SELECT clock FROM data_clock FOR UPDATE").fetch_one(tx.conn()).await?;
        Ok(row.try_get::<Json<DataClock>, _>(0)?.0)
    }

    /// Sets the data clock.
    pub async fn set_data_clock(&self, tx: &mut Tx, clock: DataClock) -> Result<(), Error> {
        sqlx::query("UPDATE data_clock SET clock = $1").bind(Json(clock)).execute(tx.conn()).await?;
        Ok(())
    }

    /// The database's clock, which alone judges leases.
    pub async fn database_now(&self) -> Result<Time, Error> {
        Ok(sqlx::query("SELECT now()").fetch_one(&self.pool).await?.try_get(0)?)
    }
}
