//! Why a file is not read, or a row not predicted.

/// A file that is not served from here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It uses something that is not computed here; the library itself does.
    #[error("{what} is not computed in process")]
    Unsupported {
        /// What.
        what: String,
    },
    /// It is no model file, or a damaged one.
    #[error("{place}: {problem}")]
    Malformed {
        /// Where: a tree, a field.
        place: String,
        /// What is wrong there.
        problem: String,
    },
}

impl Error {
    pub(crate) fn unsupported(what: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into() }
    }

    pub(crate) fn malformed(place: impl Into<String>, problem: impl std::fmt::Display) -> Self {
        Self::Malformed { place: place.into(), problem: problem.to_string() }
    }
}

/// A value that XGBoost refuses: infinite as a 32-bit float.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{value:e} is too large for a 32-bit float, in which XGBoost computes")]
pub struct TooLarge {
    /// Of which row, from 0.
    pub row: usize,
    /// In which column, from 0, in the model's own order.
    pub feature: usize,
    /// The value.
    pub value: f64,
}
