//! Requests that wait for a process: bounded, first come first served, taken several at a time.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use arrow::array::RecordBatch;
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use crate::Error;

/// One caller's rows.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) rows: RecordBatch,
    pub(crate) deadline: Instant,
    /// Must not share a call with others again: the call it shared before failed.
    pub(crate) alone: bool,
    pub(crate) reply: oneshot::Sender<Result<RecordBatch, Error>>,
}

/// Whoever is free takes what has piled up, so the least loaded process serves next without being looked for.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    arrived: Notify,
    requests_max: usize,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Request>,
    closed: bool,
}

impl Queue {
    pub(crate) fn new(requests_max: usize) -> Self {
        Self { state: Mutex::default(), arrived: Notify::new(), requests_max }
    }

    /// Adds a request, unless too many wait already.
    pub(crate) fn put(&self, request: Request) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.waiting.len() >= self.requests_max {
            return Err(Error::Overloaded { waiting: state.waiting.len() });
        }
        state.waiting.push_back(request);
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// Puts a request back to the front, to be tried once more by itself.
    pub(crate) fn again(&self, request: Request) {
        let request = Request { alone: true, ..request };
        self.state.lock().unwrap_or_else(PoisonError::into_inner).waiting.push_front(request);
        self.arrived.notify_one();
    }

    /// Waits for requests: up to `rows_max` rows of those that wait, at least one request. Empty once closed.
    pub(crate) async fn take(&self, rows_max: usize) -> Vec<Request> {
        loop {
            if let Some(taken) = self.take_waiting(rows_max) {
                return taken;
            }
            self.arrived.notified().await;
        }
    }

    /// Ends every [`take`](Self::take); who still waits is told.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed = true;
        state.waiting.clear();
        drop(state);
        self.arrived.notify_waiters();
        self.arrived.notify_one();
    }

    /// Whether it was closed.
    pub(crate) fn closed(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).closed
    }

    fn take_waiting(&self, rows_max: usize) -> Option<Vec<Request>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever gave up, or will have before an answer, costs no prediction.
        let now = Instant::now();
        state.waiting.retain(|request| !request.reply.is_closed() && request.deadline > now);
        let mut taken: Vec<Request> = Vec::new();
        let mut rows = 0;
        while let Some(next) = state.waiting.front() {
            rows += next.rows.num_rows();
            if !taken.is_empty() && (next.alone || rows > rows_max) {
                break;
            }
            let alone = next.alone;
            taken.extend(state.waiting.pop_front());
            if alone {
                break;
            }
        }
        if state.closed || !state.waiting.is_empty() {
            self.arrived.notify_one();
        }
        (state.closed || !taken.is_empty()).then_some(taken)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use arrow::array::{ArrayRef, Int64Array};

    use super::*;

    fn request(rows: i64, alone: bool) -> (Request, oneshot::Receiver<Result<RecordBatch, Error>>) {
        let column = Arc::new(Int64Array::from_iter_values(0..rows)) as ArrayRef;
        let (reply, answer) = oneshot::channel();
        let rows = RecordBatch::try_from_iter([("n", column)]).unwrap();
        (Request { rows, deadline: Instant::now() + Duration::from_mins(1), alone, reply }, answer)
    }

    #[tokio::test]
    async fn what_piled_up_is_taken_together_up_to_the_rows_allowed() {
        let queue = Queue::new(10);
        let answers: Vec<_> = [(3, false), (3, false), (3, false), (1, true), (1, false)]
            .map(|(rows, alone)| {
                let (request, answer) = request(rows, alone);
                queue.put(request).unwrap();
                answer
            })
            .into();
        let mut sizes = Vec::new();
        for _ in 0..4 {
            sizes.push(queue.take(7).await.len());
        }
        assert_eq!(sizes, [2, 1, 1, 1]);
        drop(answers);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_those_who_gave_up_make_room() {
        let queue = Queue::new(1);
        let (first, gave_up) = request(1, false);
        queue.put(first).unwrap();
        assert!(matches!(queue.put(request(1, false).0), Err(Error::Overloaded { waiting: 1 })));
        drop(gave_up);
        assert!(queue.take_waiting(1).is_none());
        let (last, _answer) = request(1, false);
        queue.put(last).unwrap();
        assert_eq!(queue.take(1).await.len(), 1);
    }

    #[tokio::test]
    async fn closing_tells_everyone() {
        let queue = Queue::new(1);
        let (waiting, answer) = request(1, false);
        queue.put(waiting).unwrap();
        queue.close();
        assert!(answer.await.is_err());
        assert!(queue.take(1).await.is_empty());
        assert!(queue.take(1).await.is_empty());
    }
}
