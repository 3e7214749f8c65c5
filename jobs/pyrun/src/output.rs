//! What a process writes past Python: lines of C libraries, of its children, and of an interpreter that dies.

use std::io::{self, PipeReader, Read as _};

use rustix::fs::{OFlags, fcntl_setfl};

/// Of one look at the pipe; more waits in it, and holds up who writes so much.
const BYTES_MAX: usize = 256 << 10;

/// The other end of stdout and stderr. Read only when asked: nothing is lost and nothing is late.
#[derive(Debug)]
pub(crate) struct Output {
    pipe: PipeReader,
    open_line: Vec<u8>,
}

impl Output {
    /// Takes the reading end, which must not be shared.
    pub(crate) fn new(pipe: PipeReader) -> io::Result<Self> {
        fcntl_setfl(&pipe, OFlags::NONBLOCK)?;
        Ok(Self { pipe, open_line: Vec::new() })
    }

    /// The whole lines that came since the last time.
    pub(crate) fn take(&mut self) -> Vec<String> {
        let mut chunk = [0; 8192];
        let mut taken = 0;
        // Ends when the pipe is empty or closed.
        while taken < BYTES_MAX
            && let Ok(count @ 1..) = self.pipe.read(&mut chunk)
        {
            self.open_line.extend_from_slice(&chunk[..count]);
            taken += count;
        }
        let Some(end) = self.open_line.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
        let lines: Vec<u8> = self.open_line.drain(..=end).collect();
        String::from_utf8_lossy(&lines).lines().map(str::to_owned).collect()
    }
}
