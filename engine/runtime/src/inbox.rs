//! Claimed jobs on their way from the dispatcher to apalis, and the slots they occupy.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use futures::task::AtomicWaker;
use tokio::sync::OwnedSemaphorePermit;

use crate::{attempt::Attempt, leases::Held};

/// A claimed job with everything it occupies until its end is committed.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) attempt: Arc<Attempt>,
    /// Taken out by whoever ends the attempt.
    pub(crate) slot: Option<Slot>,
}

/// Freed when dropped: the slot, and the lease's place among those that are renewed.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) _permit: OwnedSemaphorePermit,
    pub(crate) _held: Held,
}

#[derive(Debug, Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    waker: AtomicWaker,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Work>,
    closed: bool,
}

impl Inbox {
    /// Hands over a job; gives it back when nobody takes any more.
    pub(crate) fn push(&self, work: Work) -> Result<(), Work> {
        let mut state = self.lock();
        if state.closed {
            return Err(work);
        }
        state.waiting.push_back(work);
        drop(state);
        self.waker.wake();
        Ok(())
    }

    pub(crate) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Work> {
        // Registered before the look, or a push in between would wake nobody.
        self.waker.register(cx.waker());
        self.lock().waiting.pop_front().map_or(Poll::Pending, Poll::Ready)
    }

    /// Takes no more, and returns what nobody took.
    pub(crate) fn close(&self) -> Vec<Work> {
        let mut state = self.lock();
        state.closed = true;
        state.waiting.drain(..).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
