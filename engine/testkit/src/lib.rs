//! What tests stand on: real servers with a world of their own for each test, jobs run to their end at once, and
//! faults.
//!
//! Reading order: [`postgres::database`] (an own database, cloned from a migrated template), [`redis::prefix`],
//! [`s3::bucket`], [`kafka::Topic`], [`engine()`], [`run_job`] and [`failures`], [`faults`], [`fuzz`]. Servers start on first use and die with the
//! test process, however that ends; `TIDEMILL_TEST_POSTGRES_URL`, `TIDEMILL_TEST_REDIS_URL` and
//! `TIDEMILL_TEST_KAFKA_BROKERS` name running ones instead. A dev-dependency only: no product code knows this crate.

mod engine;
pub mod faults;
pub mod fuzz;
pub mod kafka;
pub mod postgres;
pub mod redis;
pub mod s3;
mod servers;

pub use engine::{Driver, Engine, engine, engine_with, failures, run_job, run_until_idle};
pub use servers::python;
