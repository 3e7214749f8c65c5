//! What can go wrong with user code, by what a caller may do about it.

use std::{ops::Range, path::PathBuf, time::Duration};

use tidemill_core::{Fault, JobError};

/// A request to Python that gave no result.
#[derive(Debug, thiserror::Error)]
pub enum PyError {
    /// User code raised.
    #[error("{message}")]
    Raised {
        /// `Type: message at file:line`.
        message: String,
        /// The traceback, user frames only.
        traceback: String,
    },
    /// The entry `module:function` does not exist or cannot be imported.
    #[error("cannot load `{entry}`: {message}")]
    Entry {
        /// What was asked for.
        entry: String,
        /// Why not.
        message: String,
        /// The traceback, user frames only.
        traceback: String,
    },
    /// User code returned something that is not what was declared.
    #[error("{message}")]
    Returned {
        /// What was expected and what came.
        message: String,
    },
    /// It used more memory than allowed.
    #[error("user code used more memory than its limit of {} MiB", limit_bytes >> 20)]
    Memory {
        /// The limit.
        limit_bytes: u64,
        /// Where, if Python could still tell.
        traceback: String,
    },
    /// It took longer than allowed and was killed.
    #[error("user code took longer than its limit of {} s and was killed", limit.as_secs_f64())]
    Time {
        /// The limit.
        limit: Duration,
    },
    /// The process ended by itself.
    #[error("the Python process ended: {status}")]
    Died {
        /// Exit code or signal.
        status: String,
        /// The last lines it wrote.
        output: String,
    },
    /// A transform spent its patience on rows that end their process, or its module never got loaded.
    #[error("{source}")]
    GaveUp {
        /// Those that the last call was given.
        rows: Range<usize>,
        /// What the last call came to.
        source: Box<Self>,
    },
    /// The package `tidemill` of this Python speaks another protocol version.
    #[error("package `tidemill` in {} speaks protocol {theirs}, this program speaks {ours}", python.display())]
    Protocol {
        /// The interpreter.
        python: PathBuf,
        /// Its version, 0 if it said none.
        theirs: u32,
        /// Ours.
        ours: u32,
    },
    /// No process could be started.
    #[error("cannot start Python `{}`: {message}", python.display())]
    Start {
        /// The interpreter.
        python: PathBuf,
        /// Why not.
        message: String,
    },
    /// Whoever listens to a step ended it, e.g. because the lease was lost.
    #[error(transparent)]
    Stopped(#[from] JobError),
    /// The socket failed, or a frame could not be read.
    #[error("communication with the Python process failed")]
    Io(#[from] std::io::Error),
    /// Rows could not be encoded or decoded.
    #[error("rows could not be exchanged with Python")]
    Rows(#[from] tidemill_rows::Error),
}

impl PyError {
    /// What a person is told.
    pub fn fault(&self) -> Fault {
        let fault = |code, detail: &str| {
            let fault = Fault::coded(code, self.to_string());
            if detail.is_empty() { fault } else { fault.detail(detail) }
        };
        match self {
            Self::Raised { traceback, .. } => fault(701, traceback),
            Self::Memory { traceback, .. } => fault(702, traceback)
                .hint("the limit of a step is its `resources: { memory: … }`; the limit of a view's function is 2 GiB"),
            Self::Time { .. } => fault(703, "").hint("the limit is the `timeout` of the step or view"),
            Self::GaveUp { source, .. } => source.fault(),
            Self::Died { output, .. } => fault(704, output),
            Self::Protocol { .. } => fault(705, "").hint("install the matching package: scripts/setup"),
            Self::Start { .. } => fault(706, "")
                .hint("set TIDEMILL_PYTHON to a Python that has package `tidemill`: scripts/setup"),
            Self::Entry { traceback, .. } => fault(707, traceback),
            Self::Returned { .. } => fault(708, ""),
            Self::Stopped(_) | Self::Io(_) | Self::Rows(_) => Fault::from_error(self),
        }
    }
}

/// What the same code and rows will do again is discarded; what user code raised is retried by the step's
/// own policy, since only its author knows.
impl From<PyError> for JobError {
    fn from(error: PyError) -> Self {
        match error {
            PyError::Stopped(verdict) => verdict,
            error if error.lasting() => Self::Discard(error.fault()),
            PyError::Died { .. } => Self::Died(error.fault()),
            error => Self::Retry(error.fault()),
        }
    }
}

impl PyError {
    /// Whether a retry would come to the same.
    pub fn lasting(&self) -> bool {
        matches!(
            self,
            Self::Protocol { .. } | Self::Entry { .. } | Self::Returned { .. } | Self::GaveUp { .. }
        )
    }

    /// Whether the process that gave it can't be trusted with another request.
    pub fn spoils(&self) -> bool {
        !matches!(self, Self::Raised { .. } | Self::Entry { .. } | Self::Returned { .. })
    }
}
