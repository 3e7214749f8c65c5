//! What tests stand on: real servers with a world of their own for each test, a clock that is set by hand, jobs run
//! to their end at once, and faults.
//!
//! Reading order: [`postgres::database`] (an own database, cloned from a migrated template), [`redis::prefix`],
//! [`s3::bucket`], [`ManualClock`], [`engine()`] and [`run_job`], [`faults`]. Servers start on first use and die with the
//! test process, however that ends; `TIDEMILL_TEST_POSTGRES_URL` and `TIDEMILL_TEST_REDIS_URL` name running ones
//! instead. A dev-dependency only: no product code knows this crate.

mod clock;
mod engine;
pub mod faults;
pub mod postgres;
pub mod redis;
pub mod s3;
mod servers;

pub use clock::ManualClock;
pub use engine::{Driver, Engine, engine, engine_with, run_job, run_until_idle};
pub use servers::python;
