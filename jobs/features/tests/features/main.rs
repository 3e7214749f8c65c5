//! Features against real servers: what comes into the lake, in whatever order, is what Redis and the point-in-time
//! join both say.

mod backfill;
mod changes;
mod histories;
mod parity;
mod python;
mod update;
mod upserts;
mod world;
