//! Requests that wait for a process: bounded, first come first served, taken several at a time.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use arrow::array::{Array as _, RecordBatch};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::Error;

/// One caller's rows.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) rows: RecordBatch,
    pub(crate) deadline: Instant,
    /// Whether a process died of it, or of one that shared its call.
    pub(crate) seen_death: bool,
    pub(crate) reply: oneshot::Sender<Result<RecordBatch, Error>>,
}

impl Request {
    pub(crate) fn new(
        rows: RecordBatch,
        deadline: Instant,
        reply: oneshot::Sender<Result<RecordBatch, Error>>,
    ) -> Self {
        Self { rows, deadline, seen_death: false, reply }
    }

    /// Whether somebody still waits for an answer.
    pub(crate) fn wanted(&self) -> bool {
        !self.reply.is_closed() && self.deadline > Instant::now()
    }

    /// Returns once nobody waits for an answer any more.
    pub(crate) async fn given_up(&mut self) {
        // Whoever waits gives up by itself too; the deadline is for those who forgot.
        let _ = timeout_at(self.deadline, self.reply.closed()).await;
    }

    /// Whether rows of both may be one table. What libraries make of a column depends on whether any of its values is
    /// null: each request must be seen as if it came alone.
    fn fits(&self, other: &Self) -> bool {
        let nulls = |rows: &RecordBatch| -> Vec<bool> {
            rows.columns().iter().map(|column| column.null_count() > 0).collect()
        };
        nulls(&self.rows) == nulls(&other.rows)
    }
}

/// Whoever is free takes what has piled up, so the least loaded process serves next without being looked for.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    arrived: Notify,
    closing: CancellationToken,
    requests_max: usize,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Request>,
    closed: bool,
}

impl Queue {
    pub(crate) fn new(requests_max: usize) -> Self {
        Self {
            state: Mutex::default(),
            arrived: Notify::new(),
            closing: CancellationToken::new(),
            requests_max,
        }
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

    /// Whether a request waits.
    pub(crate) fn waits(&self) -> bool {
        !self.state.lock().unwrap_or_else(PoisonError::into_inner).waiting.is_empty()
    }

    /// Waits for requests: up to `rows_max` rows of those that wait and fit the first one, at least one request. Empty once
    /// closed.
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
        self.closing.cancel();
        self.arrived.notify_waiters();
        self.arrived.notify_one();
    }

    /// Returns once it is closed.
    pub(crate) async fn closed(&self) {
        self.closing.cancelled().await;
    }

    fn take_waiting(&self, rows_max: usize) -> Option<Vec<Request>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever gave up, or will have before an answer, costs no prediction.
        state.waiting.retain(Request::wanted);
        let mut taken: Vec<Request> = Vec::new();
        let (mut rows, mut passed) = (0, VecDeque::new());
        while let Some(next) = state.waiting.pop_front() {
            let fits = taken
                .first()
                .is_none_or(|first| rows + next.rows.num_rows() <= rows_max && first.fits(&next));
            if fits {
                rows += next.rows.num_rows();
                taken.push(next);
            } else {
                passed.push_back(next);
            }
        }
        state.waiting = passed;
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

    type Asked = (Request, oneshot::Receiver<Result<RecordBatch, Error>>);

    fn request(rows: i64) -> Asked {
        request_of((0..rows).map(Some).collect())
    }

    fn request_of(values: Vec<Option<i64>>) -> Asked {
        let column = Arc::new(Int64Array::from(values)) as ArrayRef;
        let (reply, answer) = oneshot::channel();
        let rows = RecordBatch::try_from_iter([("n", column)]).unwrap();
        (Request::new(rows, Instant::now() + Duration::from_mins(1), reply), answer)
    }

    #[tokio::test]
    async fn what_piled_up_is_taken_together_up_to_the_rows_allowed() {
        let queue = Queue::new(10);
        let answers: Vec<_> = [3, 3, 3, 1]
            .map(|rows| {
                let (request, answer) = request(rows);
                queue.put(request).unwrap();
                answer
            })
            .into();
        let mut sizes = Vec::new();
        for _ in 0..2 {
            sizes.push(queue.take(7).await.len());
        }
        // Two of three rows and the one of one row fill seven.
        assert_eq!(sizes, [3, 1]);
        drop(answers);
    }

    #[tokio::test]
    async fn a_request_with_a_null_is_not_taken_with_others() {
        let queue = Queue::new(10);
        let answers: Vec<_> = [vec![Some(1)], vec![None], vec![Some(2)], vec![Some(3), None]]
            .map(|values| {
                let (request, answer) = request_of(values);
                queue.put(request).unwrap();
                answer
            })
            .into();
        let nulls = |taken: &[Request]| -> Vec<usize> {
            taken.iter().map(|request| request.rows.column(0).null_count()).collect()
        };
        assert_eq!(nulls(&queue.take(100).await), [0, 0]);
        assert_eq!(nulls(&queue.take(100).await), [1, 1]);
        drop(answers);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_those_who_gave_up_make_room() {
        let queue = Queue::new(1);
        let (first, gave_up) = request(1);
        queue.put(first).unwrap();
        assert!(matches!(queue.put(request(1).0), Err(Error::Overloaded { waiting: 1 })));
        drop(gave_up);
        assert!(queue.take_waiting(1).is_none());
        let (last, _answer) = request(1);
        queue.put(last).unwrap();
        assert_eq!(queue.take(1).await.len(), 1);
    }

    #[tokio::test]
    async fn closing_tells_everyone() {
        let queue = Queue::new(1);
        let (waiting, answer) = request(1);
        queue.put(waiting).unwrap();
        queue.close();
        assert!(answer.await.is_err());
        assert!(queue.take(1).await.is_empty());
        assert!(queue.take(1).await.is_empty());
    }
}
