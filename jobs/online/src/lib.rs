//! Latest feature values in Redis, and the live set that serving tiers watch.
//!
//! Reading order: [`view`] (a view version as readers need it, and what it stores), [`stored`] (the bytes of
//! one value), [`values()`] (the one pure function that turns bytes into features at a moment), [`client`]
//! (puts and reads), [`live`] (data clock, and models with the views they read), [`serving`] (what a serving process
//! sees of it, and says of itself).
//!
//! Writers: `features`, `live`. Readers: `serve`, `features get`. Nothing here opens Postgres or DuckDB: the serving
//! tier depends on this crate. Redis may be down at any moment; every call then returns an error.

pub mod client;
mod codec;
pub mod error;
pub mod key;
pub mod live;
pub mod serving;
pub mod stored;
pub mod values;
pub mod view;

pub use client::{Entry, Markers, Online, OnlineOptions, Read};
pub use error::Error;
pub use live::{LiveCode, LiveModel, LiveModelVersion, LiveModels, LiveSet, LiveVersion, LiveView};
pub use serving::{Held, Replica, Seen, Served};
pub use stored::{Body, Order, Series, Stored, Tile, TileOrder};
pub use values::{Status, ViewFeatures, values};
pub use view::{Layout, OnlineView};
