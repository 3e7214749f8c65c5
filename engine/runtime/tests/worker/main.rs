//! The worker against a real Postgres: the faults that queues are known to fail under, and what people rely on.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod acceptance;
mod faults;
mod figures;
mod maintenance;
mod outages;
mod pipeline;
mod processes;
mod promises;
mod world;
