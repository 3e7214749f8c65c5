//! Tree models of LightGBM and XGBoost, computed here with the libraries' own bits.
//!
//! Reading order: [`Trees`] (a model's bytes in, numbers out), `forest` (how trees lie in memory and are walked),
//! `lightgbm` and `xgboost` (what the files say), `link` (from a sum of leaves to a prediction). Pure: no file, no clock, no
//! thread. What the readers don't know for certain they refuse with a reason, so that the library itself can be asked
//! instead. Nothing here knows of signatures or categories by name: that is `inference`.

mod error;
mod forest;
mod key;
mod lightgbm;
mod link;
mod trees;
mod ubj;
mod xgboost;

pub use error::{Error, TooLarge};
pub use trees::Trees;
