//! The worker against a real Postgres: the faults that queues are known to fail under, and what people rely on.

mod acceptance;
mod faults;
mod maintenance;
mod outages;
mod pipeline;
mod promises;
mod world;
