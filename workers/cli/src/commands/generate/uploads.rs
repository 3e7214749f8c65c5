//! Files beside the records, as `tidemill sources upload` sends them.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::{
    args::{Global, TargetArgs},
    commands::{
        Session,
        sources::{Sending, upload},
    },
    failure::{Done, Failure, UNREACHABLE},
};

/// A file to upload.
pub(super) struct File {
    /// It ends as its format is called.
    pub(super) name: String,
    pub(super) text: String,
    /// How many rows it has.
    pub(super) rows: u64,
}

/// The uploader of a run.
pub(super) struct Uploads {
    /// `None`: nothing is uploaded.
    session: Option<Session>,
    source: String,
    /// Set once everything else is sent.
    pub(super) last: CancellationToken,
    files: AtomicU64,
    rows: AtomicU64,
}

impl Uploads {
    /// To a source of the server that is named or runs in this folder.
    pub(super) fn open(global: &Global, target: &TargetArgs, source: &str) -> Result<Self, Failure> {
        // What is uploaded is counted; nothing is said of each file.
        let quiet = || Session::open(&Global { quiet: true, ..global.clone() });
        Ok(Self {
            session: (!target.no_upload).then(quiet).transpose()?,
            source: source.to_owned(),
            last: CancellationToken::new(),
            files: AtomicU64::new(0),
            rows: AtomicU64::new(0),
        })
    }

    /// Uploads what `file` gives for 0, 1, 2 …, one each `period`, until it gives nothing; it is told when everything else
    /// is sent. A gateway that is away gets the same file again.
    pub(super) async fn every(&self, period: Duration, file: impl Fn(u32, bool) -> Option<File>) -> Done {
        let Some(session) = &self.session else { return Ok(()) };
        let folder = tempfile::tempdir()?;
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let sending = Sending { source: &self.source, format: None, force: false, wait: false };
        let mut number = 0;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.last.cancelled() => {}
            }
            let Some(File { name, text, rows }) = file(number, self.last.is_cancelled()) else {
                return Ok(());
            };
            let path = folder.path().join(name);
            std::fs::write(&path, text)?;
            // The future of a call is large, and this one lies within those of the producers.
            match Box::pin(upload(session, &sending, &path)).await {
                Ok(_) => {
                    self.files.fetch_add(1, Ordering::Relaxed);
                    self.rows.fetch_add(rows, Ordering::Relaxed);
                    number += 1;
                }
                Err(failure) if failure.exit == UNREACHABLE && !self.last.is_cancelled() => {}
                Err(failure) => return Err(failure),
            }
            std::fs::remove_file(&path)?;
        }
    }

    /// Files that were accepted.
    pub(super) fn files(&self) -> u64 {
        self.files.load(Ordering::Relaxed)
    }

    /// Rows in them.
    pub(super) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }
}
