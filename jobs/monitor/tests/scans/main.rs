//! Scans, incidents, webhooks and reports on real servers: a shop whose visits are watched.

mod models;
mod rollouts;
mod silent;
mod tables;
mod webhook;
mod webhooks;
mod world;
