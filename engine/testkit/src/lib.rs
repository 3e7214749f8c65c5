//! What tests stand on: real servers with a world of their own for each test, a clock that is set by hand.
//!
//! Reading order: [`postgres::database`] (an own database, cloned from a migrated template), [`redis::prefix`],
//! [`s3::bucket`], [`ManualClock`]. Servers start on first use and die with the test process, however that ends;
//! `TIDEMILL_TEST_POSTGRES_URL` and `TIDEMILL_TEST_REDIS_URL` name running ones instead.
//! A dev-dependency only: no product code knows this crate.

mod clock;
pub mod postgres;
pub mod redis;
pub mod s3;
mod servers;

pub use clock::ManualClock;
