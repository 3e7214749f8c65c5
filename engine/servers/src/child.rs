//! Children that die with their parent.
//!
//! The kernel's parent-death signal is sent when the *thread* that started the child ends, so all children are
//! started by one thread that lives as long as the process.

use std::{
    fs::{self, File},
    io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::Error;

/// What a server may see of our environment. Settings of ours hold secrets, and an environment can be read by every
/// process of the same user.
const INHERITED: [&str; 7] = ["PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "TZ"];

/// How long a server may take to answer after it was started.
const READY_WITHIN: Duration = Duration::from_mins(3);

/// How long it may take to end when asked; then it is killed.
const END_WITHIN: Duration = Duration::from_secs(30);

/// A running child; stopped when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    stop_signal: Signal,
    log: PathBuf,
}

impl Server {
    /// Starts `command`, its output going to `log`, to be stopped by `stop_signal`.
    pub(crate) fn start(mut command: Command, log: PathBuf, stop_signal: Signal) -> Result<Self, Error> {
        let program = command.get_program().to_string_lossy().into_owned();
        let file = File::create(&log).map_err(crate::io(format!("write {}", log.display())))?;
        let errors = file.try_clone().map_err(crate::io("share the log"))?;
        command.stdin(Stdio::null()).stdout(file).stderr(errors);
        let settings = std::env::vars_os().map(|(name, _)| name);
        settings.filter(|name| !INHERITED.iter().any(|kept| name == kept)).for_each(|name| {
            command.env_remove(name);
        });
        let child = with_parent(command).map_err(crate::io(format!("start {program}")))?;
        Ok(Self { child, stop_signal, log })
    }

    /// The child's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it is gone, killed or by itself.
    pub fn ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until `ready` says so of the child's process id.
    pub(crate) fn await_ready(
        mut self,
        name: &'static str,
        ready: impl Fn(u32) -> bool,
    ) -> Result<Self, Error> {
        let deadline = Instant::now() + READY_WITHIN;
        while !ready(self.child.id()) {
            if self.ended() || Instant::now() > deadline {
                return Err(Error::NotReady { server: name, log: last_lines(&self.log) });
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(self)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Once it was waited for, its number may be another process's.
        if self.ended() {
            return;
        }
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, self.stop_signal);
        }
        let deadline = Instant::now() + END_WITHIN;
        while !self.ended() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a child from the thread that outlives all others, so that a parent-death signal means the process. It gets
/// a process group of its own: a Ctrl-C in the terminal reaches the parent alone, which stops its children in order.
///
/// # Errors
/// When the program can't be started.
pub fn with_parent(mut command: Command) -> io::Result<Child> {
    type Request = (Command, mpsc::Sender<io::Result<Child>>);
    static STARTER: Mutex<Option<mpsc::Sender<Request>>> = Mutex::new(None);
    command.process_group(0);
    let (reply, answer) = mpsc::channel();
    {
        let mut starter = STARTER.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = starter.get_or_insert_with(|| {
            let (requests, inbox) = mpsc::channel::<Request>();
            thread::spawn(move || {
                for (mut command, reply) in inbox {
                    // Whoever asked may be gone; then the child is nobody's and is left to its parent-death signal.
                    let _ = reply.send(command.spawn());
                }
            });
            requests
        });
        requests.send((command, reply)).map_err(io::Error::other)?;
    }
    answer.recv().map_err(io::Error::other)?
}

/// Whether the process `pid` itself listens on the TCP port: an answer alone may be another's.
pub fn listens(pid: u32, port: u16) -> bool {
    let Ok(table) = fs::read_to_string("/proc/net/tcp") else { return false };
    let sockets: Vec<String> = table.lines().filter_map(|line| listener_of(line, port)).collect();
    let Ok(handles) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let opened = handles.filter_map(|handle| fs::read_link(handle.ok()?.path()).ok());
    opened.into_iter().any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
}

/// `socket:[INODE]` of a line of the kernel's table of sockets, if that is one which listens on `port`.
fn listener_of(line: &str, port: u16) -> Option<String> {
    const LISTENS: &str = "0A";
    let words: Vec<&str> = line.split_whitespace().collect();
    let (local, state, inode) = (words.get(1)?, words.get(3)?, words.get(9)?);
    let (_, number) = local.rsplit_once(':')?;
    let ours = *state == LISTENS && u16::from_str_radix(number, 16).ok()? == port;
    ours.then(|| format!("socket:[{inode}]"))
}

/// The last five lines of a log, for a message; empty when it can't be read.
pub fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    fn whose_server_answers_is_known() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(listens(std::process::id(), port));
        assert!(!listens(1, port), "another process");
        drop(listener);
        assert!(!listens(std::process::id(), port));
    }
}
