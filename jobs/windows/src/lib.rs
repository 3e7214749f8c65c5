//! What offline and online must agree on about windows: which rows one holds, the partial aggregates of its tiles, and
//! how these become its value.
//!
//! Reading order: [`Window`] (how a window is cut into tiles), [`Total`] (an aggregate while rows are folded into it, in
//! the one order that there is), [`Partial`] (the same as tiles keep it). The lake computes partials from rows, Redis
//! keeps them, a reader merges them: all three call this crate. It knows neither Arrow nor Redis, and which rows count is
//! the caller's to say.

mod partial;
mod window;

pub use partial::{Damaged, Partial, Total};
pub use window::Window;
