//! SQL over one row, evaluated when it is asked: what a view over views says of an entity, and what a model computes on
//! demand.
//!
//! Reading order: [`Expressions`] (which columns they read and which features they give; pure), [`Evaluator`] (an
//! in-memory DuckDB that has them prepared). Training sets, the answers of `serve` and batch predictions all come through
//! [`Evaluator::evaluate`], so they can't disagree. Also how every session is set up that runs SQL of a user ([`SESSION`],
//! [`LIMITS`]), how it is given rows ([`Rows`], [`Scan`]) and how one is stopped ([`Stop`]). Knows nothing of entities, moments, files or Redis.

mod evaluator;
mod expressions;
mod scan;
mod sound;
mod stop;

pub use evaluator::{Error, Evaluator};
pub use expressions::{Expressions, batch};
pub use scan::{Rows, Scan};
pub use sound::{in_calendar, sound};
pub use stop::{Done, Stop};

/// What every session is set to. A division by zero is null, as a division by null is.
pub const SESSION: &str = "SET TimeZone = 'UTC'; SET ieee_floating_point_ops = false";

/// What bounds the values of a user's SQL; see there.
pub const LIMITS: &str = include_str!("../queries/limits.sql");
