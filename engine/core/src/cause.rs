//! Whose doing a failed call to a server or to the disk was.
//!
//! Each store has one function that judges its own errors: `tidemill_store::cause` for Postgres, `Error::cause` of
//! `tidemill-online` for Redis and of `tidemill-blobs` for objects. What follows from it is decided here, once.

use std::io;

use crate::{Fault, JobError};

/// What a failed call says about the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The server is away, starting, full, read-only or busy: the same call goes well when that is over.
    Outage,
    /// Rolled back for another transaction's sake: a deadlock, or two writers of one row. The same call goes well when
    /// the other is gone.
    Conflict,
    /// The server understood, and said no for what was asked: it would say so again.
    Refusal,
    /// Nobody knows.
    Unknown,
}

impl Cause {
    /// Of a file or a socket.
    pub fn of_io(error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        /// Too many open files: of the process, of the machine.
        const NO_HANDLE: [i32; 2] = [24, 23];
        match error.kind() {
            Kind::StorageFull
            | Kind::QuotaExceeded
            | Kind::ReadOnlyFilesystem
            | Kind::StaleNetworkFileHandle
            | Kind::OutOfMemory
            | Kind::ResourceBusy
            | Kind::TimedOut
            | Kind::Interrupted
            | Kind::WouldBlock
            | Kind::ConnectionRefused
            | Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::NotConnected
            | Kind::BrokenPipe
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown => Self::Outage,
            _ if error.raw_os_error().is_some_and(|code| NO_HANDLE.contains(&code)) => Self::Outage,
            _ => Self::Unknown,
        }
    }

    /// Of an error with an outage of a file or a socket somewhere below it.
    pub fn of_chain(error: &(dyn std::error::Error + 'static)) -> Self {
        let away = below(error).any(|error| Self::of_io(error) == Self::Outage);
        if away { Self::Outage } else { Self::Unknown }
    }

    /// What becomes of a job that failed for it.
    pub fn verdict(self, fault: Fault) -> JobError {
        match self {
            Self::Outage => JobError::Unavailable(fault),
            Self::Conflict => JobError::Conflict(fault),
            Self::Refusal => JobError::Discard(fault),
            Self::Unknown => JobError::Retry(fault),
        }
    }
}

/// Whether somewhere below an error a disk has no space left.
pub fn disk_full(error: &(dyn std::error::Error + 'static)) -> bool {
    below(error)
        .any(|error| matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
}

/// Files and sockets in an error's chain.
fn below<'e>(error: &'e (dyn std::error::Error + 'static)) -> impl Iterator<Item = &'e io::Error> {
    let chain = std::iter::successors(Some(error), |error| {
        // An error that only wraps another gives that one's source, not that one.
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        }
    });
    chain.filter_map(|error| error.downcast_ref::<io::Error>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_an_outage_and_a_missing_file_is_not() {
        let full = io::Error::from_raw_os_error(28);
        assert_eq!(Cause::of_io(&full), Cause::Outage);
        assert_eq!(Cause::of_io(&io::Error::from_raw_os_error(24)), Cause::Outage);
        assert_eq!(Cause::of_io(&io::Error::from(io::ErrorKind::NotFound)), Cause::Unknown);
        let wrapped = io::Error::other(full);
        assert_eq!(Cause::of_chain(&wrapped), Cause::Outage);
        assert!(disk_full(&wrapped) && !disk_full(&io::Error::from(io::ErrorKind::TimedOut)));
        assert_eq!(Cause::of_chain(&io::Error::other("no")), Cause::Unknown);
    }
}
