//! Why there is no prediction, by what a caller may do about it.

use std::path::PathBuf;

use tidemill_core::Fault;
use tidemill_pyrun::PyError;

/// A model that did not load or did not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder is not a model: no `tidemill.json`, no signature, or one that cannot be read.
    #[error("`{}` is not a model folder: {message}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A golden row predicted something else than was recorded.
    #[error("golden row {row}: `{output}` is {got}, but {expected} was recorded when the model was saved")]
    Golden {
        /// Which, from 0.
        row: usize,
        /// Which output.
        output: String,
        /// What was recorded.
        expected: String,
        /// What came.
        got: String,
    },
    /// A row does not fit the signature.
    #[error("{message}")]
    Rows {
        /// Which column, and why.
        message: String,
    },
    /// More requests wait than the queue takes.
    #[error("the model's queue is full: {waiting} predictions are waiting")]
    Overloaded {
        /// The queue's bound.
        waiting: usize,
    },
    /// The deadline passed before there was an answer.
    #[error("the deadline passed")]
    Deadline,
    /// No process runs, and none could be started.
    #[error("the model does not answer: {reason}")]
    Down {
        /// Why.
        reason: String,
    },
    /// The Python process failed, twice if it died.
    #[error(transparent)]
    Python(#[from] PyError),
    /// The pool was closed.
    #[error("the model was unloaded")]
    Closed,
}

impl Error {
    /// What a person is told.
    pub fn fault(&self) -> Fault {
        let message = self.to_string();
        match self {
            Self::Folder { .. } => {
                Fault::coded(820, message).hint("save the model with tidemill.models.save(…)")
            }
            Self::Golden { .. } => Fault::coded(821, message)
                .hint("use the library versions of the training in the workers, or train again"),
            Self::Rows { .. } => Fault::coded(822, message),
            Self::Overloaded { .. } => Fault::coded(823, message)
                .hint("raise `scale: { min: … }` of the model, or start more `tidemill serve`"),
            Self::Deadline => Fault::coded(824, message),
            Self::Down { .. } => Fault::coded(836, message).hint("try again; /readyz says what is missing"),
            Self::Python(error) => error.fault(),
            Self::Closed => Fault::new(message),
        }
    }
}
