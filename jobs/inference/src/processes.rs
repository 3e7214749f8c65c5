//! Warm processes of one model version behind one bounded queue.
//!
//! Each process has a place with a task of its own (`place.rs`), so that what one request does to its process costs that
//! place alone. The pool answers as soon as one place has a process; the others follow. How many places there are follows
//! load (`scale.rs`).

use std::{sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Error, ModelOptions,
    golden::Golden,
    health::{Health, Processes},
    place::Place,
    queue::{Queue, Request},
    scale::{Load, Scale, Scaler},
};

/// How often the number of processes is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The processes; dropping it ends them.
#[derive(Debug)]
pub(crate) struct ProcessPool {
    queue: Arc<Queue>,
    health: Arc<Health>,
    /// Asked while no process runs.
    woken: Arc<Notify>,
    scale: watch::Sender<Scale>,
}

impl ProcessPool {
    /// Starts the first processes; returns when one has predicted the golden rows.
    pub(crate) async fn load(options: ModelOptions, golden: Golden) -> Result<Self, Error> {
        let queue = Arc::new(Queue::new(options.queue.max(1)));
        let health = Arc::new(Health::new(options.name.clone()));
        let woken = Arc::new(Notify::new());
        // From here on dropping it, this call included, ends the places.
        let (scale, calm) = (options.scale, options.calm);
        let (declared, scales) = watch::channel(scale);
        let pool = Self {
            queue: Arc::clone(&queue),
            health: Arc::clone(&health),
            woken: Arc::clone(&woken),
            scale: declared,
        };
        let (started, mut starts) = mpsc::channel(scale.first());
        let place = Arc::new(Place::new(options, golden, Arc::clone(&queue), Arc::clone(&health)));
        let mut places = Places { place, health, running: Vec::new() };
        places.resize(scale.first(), Some(&started));
        drop(started);
        let mut failed = None;
        while let Some(start) = starts.recv().await {
            match start {
                Ok(()) => {
                    tokio::spawn(places.follow(scales, calm, queue, woken));
                    return Ok(pool);
                }
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or(Error::Closed))
    }

    pub(crate) fn down(&self) -> Option<String> {
        self.health.down()
    }

    pub(crate) fn processes(&self) -> Processes {
        self.health.processes()
    }

    pub(crate) fn rescale(&self, scale: Scale) {
        self.scale.send_replace(scale);
    }

    /// The outputs of rows that join the queue.
    pub(crate) async fn predict(&self, rows: RecordBatch, deadline: Instant) -> Result<RecordBatch, Error> {
        if let Some(reason) = self.health.lasting() {
            return Err(Error::Down { reason });
        }
        let (reply, answer) = oneshot::channel();
        self.queue.put(Request::new(rows, deadline, reply))?;
        if self.health.asleep() {
            self.woken.notify_one();
        }
        match timeout_at(deadline, answer).await {
            Ok(Ok(outputs)) => outputs,
            // Dropped from the queue: it was closed, or nobody got to it in time.
            Ok(Err(_)) if deadline > Instant::now() => Err(Error::Closed),
            Ok(Err(_)) | Err(_) => Err(Error::Deadline),
        }
    }
}

impl Drop for ProcessPool {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// The places of one pool. Dropped without being retired they go on until the queue closes.
struct Places {
    place: Arc<Place>,
    health: Arc<Health>,
    running: Vec<CancellationToken>,
}

impl Places {
    /// Starts places or retires them, the newest first. `started` is told how the first start of each went.
    fn resize(&mut self, wanted: usize, started: Option<&mpsc::Sender<Result<(), Error>>>) {
        self.health.want(wanted);
        for retired in self.running.drain(wanted.min(self.running.len())..) {
            retired.cancel();
        }
        while self.running.len() < wanted {
            let retired = CancellationToken::new();
            tokio::spawn(Arc::clone(&self.place).keep(started.cloned(), retired.clone()));
            self.running.push(retired);
        }
    }

    /// Keeps as many as load needs until the queue closes.
    async fn follow(
        mut self,
        scales: watch::Receiver<Scale>,
        calm: Duration,
        queue: Arc<Queue>,
        woken: Arc<Notify>,
    ) {
        let mut looked = Instant::now();
        let mut scaler = Scaler::new(*scales.borrow(), calm, looked);
        loop {
            tokio::select! {
                () = queue.closed() => return,
                () = sleep_until(looked + LOOK_EVERY) => {}
                () = woken.notified() => {}
            }
            let (busy, now) = (self.health.look(looked.elapsed()), Instant::now());
            scaler.scale = *scales.borrow();
            let wanted = scaler.wanted(Load { busy, asked: busy > 0.0 || queue.waits() }, now);
            // Of fewer, those that are starting again must not be what is left.
            let steady = self.health.processes().answering >= self.running.len();
            if wanted > self.running.len() || (wanted < self.running.len() && steady) {
                tracing::info!(
                    model = self.health.name(),
                    busy,
                    "{} processes become {wanted}",
                    self.running.len()
                );
                self.resize(wanted, None);
            }
            looked = now;
        }
    }
}
