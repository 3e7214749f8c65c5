//! What has arrived so far, on standard error: a bar on a terminal, elsewhere a line now and then.

use std::{
    io::{self, IsTerminal as _},
    sync::Arc,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use tidemill_generate::Tally;

use super::uploads::Uploads;
use crate::{
    args::Global,
    failure::{Done, Failure, INTERRUPTED},
    output::count,
};

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Between two lines, where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// The progress of a run.
pub(super) struct Progress {
    bar: ProgressBar,
    tally: Arc<Tally>,
    /// Events, if there is an end to them.
    rows: Option<u64>,
    lines: bool,
}

impl Progress {
    pub(super) fn new(global: &Global, rows: Option<u64>, tally: Arc<Tally>) -> Self {
        let shown = !global.quiet && io::stderr().is_terminal();
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(rows, target);
        let form = match rows {
            Some(_) => "  {bar:30} {human_pos} of {human_len} records · {per_sec} · {eta} left",
            None => "  {spinner} {human_pos} records · {per_sec} · Ctrl-C ends",
        };
        bar.set_style(ProgressStyle::with_template(form).expect("a template"));
        Self { bar, tally, rows, lines: !global.quiet && !shown }
    }

    /// Sends and uploads until both are done, or Ctrl-C; what was begun is always brought to its end.
    ///
    /// # Errors
    /// One of them failed, or it was stopped before everything was sent.
    pub(super) async fn until(
        &self,
        sending: impl Future<Output = Done>,
        uploading: impl Future<Output = Done>,
        uploads: &Uploads,
    ) -> Done {
        let sending = async {
            let sent = sending.await;
            uploads.last.cancel();
            sent
        };
        let uploading = async {
            let uploaded = uploading.await;
            if uploaded.is_err() {
                self.tally.stop();
            }
            uploaded
        };
        let both = async { tokio::join!(sending, uploading) };
        let (sent, uploaded) = tokio::select! {
            ended = both => ended,
            () = self.watch() => unreachable!("it looks on until the others have ended"),
        };
        self.bar.finish_and_clear();
        let stopped = self.tally.stopped() && self.rows.is_some();
        sent.and(uploaded).and(if stopped { Err(Failure::silent(INTERRUPTED)) } else { Ok(()) })
    }

    async fn watch(&self) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        let mut said_at = Instant::now();
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                _ = tokio::signal::ctrl_c() => self.tally.stop(),
            }
            let arrived = self.tally.acknowledged().iter().sum::<u64>();
            self.bar.set_position(arrived);
            if self.lines && said_at.elapsed() >= LINE_EVERY {
                tidemill_telemetry::say!("  {} records", count(&json!(arrived)));
                said_at = Instant::now();
            }
        }
    }
}
