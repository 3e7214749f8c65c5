//! How many processes of a model answer, and why the others don't.

use std::sync::{Arc, Mutex, PoisonError};

/// Shared by a pool and its places.
#[derive(Debug)]
pub(crate) struct Health {
    name: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    answering: usize,
    ended: u64,
    /// How the last process ended.
    last_end: Option<String>,
    /// Why the last try to start one failed; cleared by one that succeeds.
    not_started: Option<String>,
}

/// One process that answers, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Answering(Arc<Health>);

impl Health {
    pub(crate) fn new(name: String) -> Self {
        Self { name, state: Mutex::default() }
    }

    /// What log lines call the model.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A process answers from now on.
    pub(crate) fn answers(self: &Arc<Self>) -> Answering {
        self.with(|state| {
            state.answering += 1;
            state.not_started = None;
        });
        Answering(Arc::clone(self))
    }

    /// A process ended, or was ended.
    pub(crate) fn ended(&self, how: &str) {
        tracing::warn!(model = self.name, how, "a process of the model ended; starting another one");
        self.with(|state| state.last_end = Some(how.to_owned()));
    }

    /// One could not be started.
    pub(crate) fn not_started(&self, reason: String) {
        self.with(|state| state.not_started = Some(reason));
    }

    /// Why none answers; `None` while one does.
    pub(crate) fn down(&self) -> Option<String> {
        self.with(|state| {
            let how = state.not_started.as_ref().or(state.last_end.as_ref());
            let how = how.map_or_else(String::new, |how| format!(": {how}"));
            (state.answering == 0).then(|| format!("none of its processes runs{how}; starting again"))
        })
    }

    /// As [`down`](Self::down), once a try to start one has failed: waiting isn't worth it.
    pub(crate) fn lasting(&self) -> Option<String> {
        let failed = self.with(|state| state.not_started.is_some());
        self.down().filter(|_| failed)
    }

    pub(crate) fn processes(&self) -> (usize, u64) {
        self.with(|state| (state.answering, state.ended))
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.with(|state| {
            state.answering -= 1;
            state.ended += 1;
        });
    }
}
