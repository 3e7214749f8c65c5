//! The prediction log in the lake: what serving answered, a table for each model.
//!
//! Reading order: [`ingest`] (segments that serving left on the object store become rows), [`expire`] (rows go after their
//! time), [`read`](mod@read) (who was told what), [`replay`](mod@replay) (one prediction again). What a row says is `rows::prediction_log`'s.

pub mod expire;
pub mod ingest;
pub mod read;
pub mod replay;

pub use expire::expirations;
pub use ingest::{ingest_new, ingests};
pub use read::{Found, Logged, Wanted, find, list, models, told};
pub use replay::{Replay, replay, replay_new};
