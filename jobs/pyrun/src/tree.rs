//! The processes below a guard: what they use together, and their end.
//!
//! The guard (`tidemill/guard.py`) kills them when it sees the conversation end. This side knows them as well, so
//! that their memory is counted together, and so that user code gains nothing by stopping or killing the guard.

use std::{collections::HashMap, fs};

use rustix::process::{Pid, Signal, kill_process};

/// All processes that descend from a guard.
#[derive(Debug)]
pub(crate) struct Tree {
    guard: Pid,
    /// Those seen so far that live, with the moment each started: an id alone may be somebody else's by now.
    seen: HashMap<Pid, u64>,
}

impl Tree {
    pub(crate) fn new(guard: Pid) -> Self {
        Self { guard, seen: HashMap::new() }
    }

    /// Whether all together use more than `most_bytes`. Pages that several share count once.
    pub(crate) fn exceeds(&mut self, most_bytes: u64) -> bool {
        self.look();
        // Quick to read, but shared pages count for each; only where that is too much it pays to look closer.
        let total = |of: fn(Pid) -> u64| self.seen.keys().map(|pid| of(*pid)).sum::<u64>();
        total(resident_bytes) > most_bytes && total(proportional_bytes) > most_bytes
    }

    /// Memory in use now, shared pages counted for each process that has them.
    pub(crate) fn resident_bytes(&mut self) -> u64 {
        self.look();
        self.seen.keys().map(|pid| resident_bytes(*pid)).sum()
    }

    /// Ends what lost its parent: nothing in `worker` waits for it any more.
    pub(crate) fn kill_orphans(&self, worker: Pid) {
        for orphan in children(self.guard).into_iter().filter(|pid| *pid != worker) {
            let below = descendants(orphan);
            kill(orphan);
            below.into_iter().for_each(kill);
        }
    }

    /// Ends all of it but the guard, who collects what is left and goes.
    pub(crate) fn kill(&mut self) {
        self.look();
        self.seen.keys().copied().for_each(kill);
        // It may have been stopped; it may have ended.
        let _ = kill_process(self.guard, Signal::CONT);
    }

    /// Finds those that are new, and forgets those that are gone. Where the guard is gone, what it kept together is
    /// known from earlier looks alone.
    fn look(&mut self) {
        self.seen.retain(|pid, started| started_at(*pid) == Some(*started));
        let found = descendants(self.guard);
        self.seen.extend(found.into_iter().filter_map(|pid| Some((pid, started_at(pid)?))));
    }
}

fn kill(pid: Pid) {
    // It may have ended in between.
    let _ = kill_process(pid, Signal::KILL);
}

fn descendants(pid: Pid) -> Vec<Pid> {
    let mut found = children(pid);
    let mut next = 0;
    while let Some(parent) = found.get(next) {
        found.extend(children(*parent));
        next += 1;
    }
    found
}

/// None where the process is gone.
fn children(pid: Pid) -> Vec<Pid> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let of_thread = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("children")).ok();
    let texts = threads.flatten().filter_map(of_thread);
    texts.flat_map(|text| text.split_whitespace().filter_map(parsed).collect::<Vec<_>>()).collect()
}

fn parsed(pid: &str) -> Option<Pid> {
    Pid::from_raw(pid.parse().ok()?)
}

/// In ticks since the machine started: the 22nd field of `stat`, the 20th after the name, which may hold anything.
fn started_at(pid: Pid) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// 0 where the process is gone.
fn resident_bytes(pid: Pid) -> u64 {
    bytes_of(&format!("/proc/{pid}/status"), "VmRSS:").unwrap_or(0)
}

/// Each shared page in equal parts among those who have it; `resident_bytes` where the kernel doesn't tell.
fn proportional_bytes(pid: Pid) -> u64 {
    bytes_of(&format!("/proc/{pid}/smaps_rollup"), "Pss:").unwrap_or_else(|| resident_bytes(pid))
}

/// A line such as `VmRSS:   1234 kB`.
fn bytes_of(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}
