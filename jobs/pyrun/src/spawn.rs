//! Starts a Python process in its own group, with its socket as stdin and next to no environment.

use std::{
    ffi::OsString,
    io::{self, PipeWriter},
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::Stdio,
};

use tempfile::TempPath;
use tokio::process::{Child, Command};

use crate::{PyOptions, calls::Calls, output::Output};

/// What user code may see of our environment; settings of ours, with their secrets, are not among it.
const INHERITED: [&str; 9] = [
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "SSL_CERT_FILE",
];

/// Where numeric libraries read how many threads they may start.
pub(crate) const THREADS: [&str; 2] = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"];

/// A process that has just been started.
pub(crate) struct Spawned {
    pub(crate) child: Child,
    pub(crate) socket: tokio::net::UnixStream,
    pub(crate) output: Output,
    /// While it is open, the group may live.
    pub(crate) guard: PipeWriter,
    pub(crate) calls: Calls,
    /// To be kept until it has greeted.
    pub(crate) calls_path: TempPath,
}

/// Starts `python -m tidemill.worker`.
pub(crate) fn spawn(options: &PyOptions) -> io::Result<Spawned> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let (lines, writer) = io::pipe()?;
    let (calls, calls_path) = Calls::new()?;
    let mut command = command(options);
    command.arg("--calls").arg(&calls_path);
    command.stdin(OwnedFd::from(theirs)).stdout(writer.try_clone()?).stderr(writer);
    let child = command.spawn()?;
    let gone = || io::Error::other("it ended at once");
    let guard = guard(child.id().ok_or_else(gone)?)?;
    let socket = tokio::net::UnixStream::from_std(ours)?;
    Ok(Spawned { child, socket, output: Output::new(lines)?, guard, calls, calls_path })
}

fn command(options: &PyOptions) -> Command {
    let mut command = Command::new(&options.python);
    command.args(["-m", "tidemill.worker"]);
    if let Some(code) = &options.code {
        command.arg("--code").arg(code);
    }
    command.arg("--memory-bytes").arg(options.memory_bytes.to_string());
    command.env_clear().envs(inherited());
    if let Some(package) = &options.package {
        command.env("PYTHONPATH", package);
    }
    // One thread a process unless its code says otherwise: several processes share the machine's cores. The
    // system's allocator reserves no more than it uses, so that the memory limit measures use.
    command.envs(THREADS.map(|name| (name, "1"))).env("ARROW_DEFAULT_MEMORY_POOL", "system");
    command.envs([("TZ", "UTC"), ("PYTHONUNBUFFERED", "1"), ("PYTHONDONTWRITEBYTECODE", "1")]);
    command.envs(&options.env).process_group(0).kill_on_drop(true);
    command
}

/// Ends the group when the pipe closes: with us, however we end, and whatever user code is doing. Not by a signal on
/// our death (`PR_SET_PDEATHSIG`): that reaches the leader alone, and what it started would be left behind.
fn guard(leader: u32) -> io::Result<PipeWriter> {
    let (closed, open) = io::pipe()?;
    let mut guard = Command::new("sh");
    guard.args(["-c", "read _; kill -KILL 0"]).env_clear().envs(inherited());
    guard.stdin(closed).stdout(Stdio::null()).stderr(Stdio::null());
    guard.process_group(leader.cast_signed()).spawn()?;
    Ok(open)
}

fn inherited() -> impl Iterator<Item = (&'static str, OsString)> {
    INHERITED.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)))
}
