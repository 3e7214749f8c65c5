//! What can go wrong with an object.

use std::path::{Path, PathBuf};

use object_store::client::HttpError;
use tidemill_core::{Cause, Fault, JobError};

/// Why an object could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The place can't be one.
    #[error(
        "`{url}` is not the URL of an object store ({reason}); use file:///ABSOLUTE/FOLDER or s3://BUCKET/PREFIX"
    )]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The path can't be one.
    #[error("`{path}` is not the path of an object: {reason}")]
    Path {
        /// What was given.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing is there.
    #[error("object `{path}` does not exist")]
    Missing {
        /// Where.
        path: String,
    },
    /// The bytes have another hash than their name.
    #[error("object `{path}` is corrupt: its bytes differ from those that were stored")]
    Corrupt {
        /// Where.
        path: String,
    },
    /// A local file or folder.
    #[error("file `{}` can't be used", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A folder for trusted files that others could have put something into.
    #[error("folder `{}` can't be trusted: {reason}", path.display())]
    NotPrivate {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The store failed; may go better next time.
    #[error("object `{path}` can't be written or read")]
    Store {
        /// Which.
        path: String,
        /// Why.
        source: object_store::Error,
    },
}

impl Error {
    pub(crate) fn at(path: &str, error: object_store::Error) -> Self {
        let path = path.to_owned();
        match error {
            object_store::Error::NotFound { .. } => Self::Missing { path },
            source => Self::Store { path, source },
        }
    }

    pub(crate) fn file(path: &Path, source: std::io::Error) -> Self {
        Self::File { path: path.to_owned(), source }
    }
}

impl Error {
    /// Whose doing it was: the one judgement of objects and their files.
    pub fn cause(&self) -> Cause {
        match self {
            Self::Store { source, .. } => of_store(source),
            Self::File { source, .. } => Cause::of_io(source),
            Self::Url { .. }
            | Self::Path { .. }
            | Self::Missing { .. }
            | Self::Corrupt { .. }
            | Self::NotPrivate { .. } => Cause::Refusal,
        }
    }
}

/// A server that fails, is too busy or can't be reached; of a folder, what its disk says.
fn of_store(error: &object_store::Error) -> Cause {
    // The library names no type of its own for what a server answered after its retries.
    const AWAY: [&str; 4] = [
        "non-2xx status code: 5",
        "non-2xx status code: 408",
        "non-2xx status code: 429",
        "error response: ",
    ];
    let object_store::Error::Generic { source, .. } = error else { return Cause::Unknown };
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(&**source);
    while let Some(error) = next {
        if error.is::<HttpError>() || AWAY.iter().any(|text| error.to_string().contains(text)) {
            return Cause::Outage;
        }
        next = error.source();
    }
    Cause::of_chain(&**source)
}

/// What becomes of a job is the cause's.
impl From<Error> for JobError {
    fn from(error: Error) -> Self {
        error.cause().verdict(Fault::from_error(&error))
    }
}
