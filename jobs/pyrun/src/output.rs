//! What a process writes past Python: lines of C libraries, of its children, and of an interpreter that dies.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::unix::pipe,
    task::JoinHandle,
};

/// Older lines are forgotten, so that nobody's chatter fills our memory.
const LINES_MAX: usize = 500;

/// Lines from stdout and stderr that nobody took yet.
#[derive(Debug)]
pub(crate) struct Output {
    lines: Arc<Mutex<VecDeque<String>>>,
    reader: JoinHandle<()>,
}

impl Output {
    /// Reads lines from a pipe until it closes.
    pub(crate) fn follow(pipe: io::PipeReader) -> io::Result<Self> {
        let mut read = BufReader::new(pipe::Receiver::from_owned_fd(pipe.into())?);
        let lines = Arc::new(Mutex::new(VecDeque::new()));
        let sink = Arc::clone(&lines);
        let reader = tokio::spawn(async move {
            let mut line = Vec::new();
            while read.read_until(b'\n', &mut line).await.is_ok_and(|count| count > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                line.clear();
                let mut lines = sink.lock().unwrap_or_else(PoisonError::into_inner);
                if lines.len() == LINES_MAX {
                    lines.pop_front();
                }
                lines.push_back(text);
            }
        });
        Ok(Self { lines, reader })
    }

    /// Takes what came since the last time.
    pub(crate) fn take(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.reader.abort();
    }
}
