//! What a process prints: Python's own streams, C libraries, children, and an interpreter that dies.
//!
//! Standard output and error are one pipe, a real file to whoever writes. Read here while a request runs, so that a
//! writer never waits long; lines come in the order they were written.

use std::{
    collections::VecDeque,
    future::pending,
    io::{self, PipeReader, Read as _},
};

use tokio::net::unix::pipe;

mod lines;

use lines::Lines;

/// Of one look at the pipe: more than it holds, so that one look finds all that was written before.
const BYTES_MAX: usize = 256 << 10;
/// What is told of a process that died.
const LAST_LINES: usize = 20;

/// The reading end of stdout and stderr.
#[derive(Debug)]
pub(crate) struct Output {
    /// Tells when there is something to read.
    readable: pipe::Receiver,
    /// The same pipe. What it holds is read at once, whether the runtime has heard of it yet or not.
    pipe: PipeReader,
    lines: Lines,
    /// Whole lines that nobody has taken yet.
    whole: Vec<String>,
    last: VecDeque<String>,
    closed: bool,
}

impl Output {
    /// Takes the reading end, which must not be shared.
    pub(crate) fn new(pipe: PipeReader) -> io::Result<Self> {
        // Both are non-blocking then: they are one open file.
        let readable = pipe::Receiver::from_owned_fd(pipe.try_clone()?.into())?;
        let (lines, last) = (Lines::default(), VecDeque::new());
        Ok(Self { readable, pipe, lines, whole: Vec::new(), last, closed: false })
    }

    /// Waits for output and returns the whole lines in it; may be dropped at any time. Never returns once nobody can
    /// write any more.
    pub(crate) async fn next(&mut self) -> Vec<String> {
        if self.closed {
            return pending().await;
        }
        if self.readable.readable().await.is_err() {
            self.closed = true;
        }
        self.look();
        // Only a read that finds nothing tells the runtime to wait again.
        let mut byte = [0];
        if let Ok(1) = self.readable.try_read(&mut byte) {
            self.read(&byte);
        }
        std::mem::take(&mut self.whole)
    }

    /// All lines so far, one without its end too, unless it is a progress bar that goes on.
    pub(crate) fn take_said(&mut self) -> Vec<String> {
        self.look();
        let open = self.lines.end_unless_bar();
        self.add(open);
        std::mem::take(&mut self.whole)
    }

    /// All lines so far, one without its end too.
    pub(crate) fn take_all(&mut self) -> Vec<String> {
        self.look();
        let open = self.lines.end_open();
        self.add(open);
        std::mem::take(&mut self.whole)
    }

    /// Forgets what came before: nobody listened to it.
    pub(crate) fn forget(&mut self) {
        self.take_all();
        self.last.clear();
    }

    /// The last lines, at most twenty, whether they were taken or not.
    pub(crate) fn last(&mut self) -> String {
        self.look();
        let open = self.lines.end_open();
        self.add(open);
        self.last.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// Reads what was written since the last look.
    fn look(&mut self) {
        let (mut chunk, mut read) = ([0; 8192], 0);
        while read < BYTES_MAX && !self.closed {
            match self.pipe.read(&mut chunk) {
                Ok(count @ 1..) => {
                    self.read(&chunk[..count]);
                    read += count;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Ok(0) | Err(_) => self.closed = true,
            }
        }
    }

    fn read(&mut self, bytes: &[u8]) {
        let mut whole = Vec::new();
        self.lines.push(bytes, &mut whole);
        self.add(whole);
    }

    fn add(&mut self, lines: impl IntoIterator<Item = String>) {
        for line in lines {
            if self.last.len() == LAST_LINES {
                self.last.pop_front();
            }
            self.last.push_back(line.clone());
            self.whole.push(line);
        }
    }
}
