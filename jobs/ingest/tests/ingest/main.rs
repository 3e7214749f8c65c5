//! Files through the real queue, catalog and lake.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

mod doors;
mod files;
mod pushes;
mod world;
