//! Events as clients would send them: users of a shop, made up by a seed, and the flights of 2013 as they became known.
//!
//! Reading order: [`Users`] (what happens, by a seed), [`Flights`] (what happened, by a file), [`send`] (how records
//! reach Kafka, and what was acknowledged).
//!
//! It knows no other crate's rows or tables: a generator is outside, and speaks to the platform through Kafka alone. Files
//! are made here and uploaded by the command line, as a client would.

mod draw;
mod error;
mod flights;
mod kafka;
mod sender;
mod users;

pub use error::Error;
pub use flights::{Flights, Replay, STREAMS};
pub use kafka::Kafka;
pub use sender::{Record, Tally, send};
pub use users::{Kind, Population, Shares, Timeline, UserRecord, Users};
