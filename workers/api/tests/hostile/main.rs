//! Hostile and broken requests at every door of the control plane: each has a typed answer, the process stays, memory is
//! bounded. The chance has a seed, which is printed.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

mod door;
mod labels;
mod rest;
mod world;
