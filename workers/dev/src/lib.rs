<<<<<<< HEAD
//! Everything on one machine: embedded servers and every role of the binary in one process tree.
//!
//! [`Tree`] starts it below a folder (`.tidemill/`), keeps it running and stops it; `tidemill dev` is a tree and
=======
<<<<<<< HEAD
//! Embedded servers and every role in one process tree; the demo.
=======
//! Everything on one machine: embedded servers and every role of the binary in one process tree.
//!
//! [`Tree`] starts it below a folder (`.tidemill/`), keeps it running and stops it: `tidemill dev` is a tree and
>>>>>>> 017326d (wip)
//! a Ctrl-C, `tidemill demo` ([`demo`]) is a tree and a story told through the public interfaces. Roles are
//! child processes of this same binary, so what runs here is what runs in production. Nothing here opens a
//! database: a tree knows URLs and processes only.

<<<<<<< HEAD
=======
mod demo;
>>>>>>> 017326d (wip)
mod endpoints;
mod role;
mod tree;

<<<<<<< HEAD
pub use endpoints::{Endpoints, STATE_FILE};
pub use role::die_with_parent;
pub use tree::{Tree, TreeOptions};
=======
pub use demo::{DemoOptions, demo};
pub use endpoints::{Endpoints, STATE_FILE};
pub use role::die_with_parent;
pub use tree::{Tree, TreeOptions};
>>>>>>> e5dd16b (wip)
>>>>>>> 017326d (wip)
