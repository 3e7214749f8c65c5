//! Features against real servers: what comes into the lake, in whatever order, is what Redis and the point-in-time
//! join both say.
#![expect(clippy::print_stdout, reason = "a seed that is printed is a world that can be made again")]

mod backfill;
mod changes;
mod histories;
mod parity;
mod python;
mod recompute;
mod update;
mod upserts;
mod world;
