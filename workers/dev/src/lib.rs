//! Everything on one machine: embedded servers and every role of the binary in one process tree.
//!
//! [`Tree`] starts it below a folder (`.tidemill/`), keeps it running and stops it: `tidemill dev` is a tree and
//! a Ctrl-C, `tidemill demo` ([`demo`]) is a tree and a story told through the public interfaces. Roles are
//! child processes of this same binary, so what runs here is what runs in production. Nothing here opens a
//! database: a tree knows URLs and processes only.

mod demo;
mod endpoints;
mod lock;
mod role;
mod servers;
mod tree;

pub use demo::{DemoOptions, demo};
pub use endpoints::{Endpoints, STATE_FILE};
pub use role::die_with_parent;
pub use tree::{Tree, TreeOptions};
