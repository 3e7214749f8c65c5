//! Drift, data quality and performance: counts, statistics, incidents, notifications, reports.
//!
//! Reading order: [`counts`] (bins frozen from a reference, exact counts in them), [`measure`] (PSI, JS, KS, Hellinger
//! from counts), [`verdict`] (what a figure means), [`compare`] (two tables or files, without a server). All of these
//! are pure.

mod column;
mod compare;
pub mod counts;
mod error;
pub mod measure;
mod report;
pub mod verdict;

pub use column::{Bin, ColumnReport, compare_column};
pub use compare::{CompareReport, compare, compare_files};
pub use error::Error;
pub use verdict::Verdict;
