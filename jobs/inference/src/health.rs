//! How many processes of a model answer, how busy they are, and why the others don't answer.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Shared by a pool and its places.
#[derive(Debug)]
pub(crate) struct Health {
    name: String,
    state: Mutex<State>,
}

/// The processes of a model, now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Processes {
    /// Those that answer.
    pub answering: usize,
    /// How many there shall be.
    pub wanted: usize,
    /// How many were busy at the last look, on average over about a second.
    pub busy: f64,
    /// How many have died or were ended for what they did, since the start.
    pub ended: u64,
}

#[derive(Debug, Default)]
struct State {
    processes: Processes,
    work: Work,
    /// None shall run, or none does yet since one shall again.
    asleep: bool,
    /// How the last process ended.
    last_end: Option<String>,
    /// Why the last try to start one failed; cleared by one that succeeds.
    not_started: Option<String>,
}

/// The time that calls have taken since it was last looked at.
#[derive(Debug, Default)]
struct Work {
    calls: u32,
    changed: Option<Instant>,
    spent: Duration,
}

impl Work {
    /// So many more calls are under way, or fewer.
    fn change(&mut self, by: i32) {
        let now = Instant::now();
        if let Some(changed) = self.changed.replace(now) {
            self.spent += (now - changed) * self.calls;
        }
        self.calls = self.calls.saturating_add_signed(by);
    }
}

/// One process that answers, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Answering(Arc<Health>);

/// One call, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Health>);

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
            state.processes.answering += 1;
            state.not_started = None;
            state.asleep = false;
        });
        Answering(Arc::clone(self))
    }

    /// A process ended, or was ended.
    pub(crate) fn ended(&self, how: &str) {
        tracing::warn!(model = self.name, how, "a process of the model ended; starting another one");
        self.with(|state| {
            state.processes.ended += 1;
            state.last_end = Some(how.to_owned());
        });
    }

    /// One could not be started.
    pub(crate) fn not_started(&self, reason: String) {
        self.with(|state| state.not_started = Some(reason));
    }

    /// Why none answers; `None` while one does, or would as soon as it is asked.
    pub(crate) fn down(&self) -> Option<String> {
        self.with(|state| {
            let asleep = state.asleep && (state.not_started.is_none() || state.processes.wanted == 0);
            let how = state.not_started.as_ref().or(state.last_end.as_ref());
            let how = how.map_or_else(String::new, |how| format!(": {how}"));
            (state.processes.answering == 0 && !asleep)
                .then(|| format!("none of its processes runs{how}; starting again"))
        })
    }

    /// As [`down`](Self::down), once a try to start one has failed: waiting isn't worth it.
    pub(crate) fn lasting(&self) -> Option<String> {
        let failed = self.with(|state| state.not_started.is_some() && state.processes.wanted > 0);
        self.down().filter(|_| failed)
    }

    pub(crate) fn processes(&self) -> Processes {
        self.with(|state| state.processes)
    }

    /// A call begins.
    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        self.with(|state| state.work.change(1));
        Busy(Arc::clone(self))
    }

    /// How many processes were busy on average since the last look, `elapsed` ago.
    pub(crate) fn look(&self, elapsed: Duration) -> f64 {
        self.with(|state| {
            state.work.change(0);
            let spent = std::mem::take(&mut state.work.spent);
            state.processes.busy = spent.as_secs_f64() / elapsed.as_secs_f64().max(f64::EPSILON);
            state.processes.busy
        })
    }

    /// So many shall run from now on.
    pub(crate) fn want(&self, processes: usize) {
        self.with(|state| {
            state.processes.wanted = processes;
            state.asleep |= processes == 0;
        });
    }

    /// Whether none runs because nothing was asked.
    pub(crate) fn asleep(&self) -> bool {
        self.with(|state| state.asleep)
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.with(|state| {
            state.processes.answering -= 1;
        });
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.with(|state| state.work.change(-1));
    }
}
