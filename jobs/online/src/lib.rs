//! Latest feature values in Redis, and the live set that serving tiers watch.
//!
//! Reading order: [`view`] (a view version as readers need it, and what it stores), [`stored`] (the bytes of
//! one value), [`values()`] (the one pure function that turns bytes into features at a moment), [`connection`] (one server or
//! a Cluster), [`shard`] (where values lie), [`client`] (puts and reads), [`Online::hydrate`] (what several views say, those among them that are computed when they are asked), [`live`] (data clock, and models with the views they read), [`serving`] (what a serving process
//! sees of it, and says of itself), [`split`] (who answers while a rollout is under way), [`figures`] and [`measured`] (how
//! versions fare).
//!
//! Writers: `features`, `live`. Readers: `serve`, `features get`. Nothing here opens Postgres or files: the serving
//! tier depends on this crate. Redis may be down at any moment; every call then returns an error.

pub mod client;
mod codec;
pub mod connection;
pub mod error;
pub mod figures;
mod hydrate;
mod key;
pub mod live;
pub mod measured;
mod order;
pub mod serving;
mod shard;
pub mod split;
pub mod stored;
pub mod values;
pub mod view;

pub use client::{Entry, Markers, Online, Read};
pub use connection::OnlineOptions;
pub use error::Error;
pub use figures::{Arms, Figures, Histogram, Quantiles, Summary, Tally};
pub use hydrate::Hydrated;
pub use live::{
    LiveCode, LiveInput, LiveModel, LiveModelVersion, LiveModels, LiveSet, LiveVersion, LiveView,
};
pub use measured::Measured;
pub use order::{Order, TileOrder};
pub use serving::{Held, Replica, Seen, Served};
pub use split::LiveSplit;
pub use stored::{Body, Series, Stored, Tile};
pub use values::{Status, ViewFeatures, values};
pub use view::{Layout, OnlineView};
