//! Starts a Python process with its socket as stdin and next to no environment.

use std::{
    ffi::OsString,
    io,
    os::{fd::OwnedFd, unix::net::UnixStream},
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
    pub(crate) calls: Calls,
    /// To be kept until it has greeted.
    pub(crate) calls_path: TempPath,
}

/// Starts `python -m tidemill.guard`, which starts the worker. It ends with everything below it when the socket closes,
/// with us, however we end, and whatever user code is doing.
pub(crate) fn spawn(options: &PyOptions) -> io::Result<Spawned> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let (lines, writer) = io::pipe()?;
    let (calls, calls_path) = Calls::new()?;
    let mut command = command(options);
    command.arg("--calls").arg(&calls_path);
    command.stdin(OwnedFd::from(theirs)).stdout(writer.try_clone()?).stderr(writer);
    let child = command.spawn()?;
    let socket = tokio::net::UnixStream::from_std(ours)?;
    Ok(Spawned { child, socket, output: Output::new(lines)?, calls, calls_path })
}

fn command(options: &PyOptions) -> Command {
    let mut command = Command::new(&options.python);
    // `-P`: what lies in the folder that we happen to run in is no module.
    command.args(["-P", "-m", "tidemill.guard"]);
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
    // Not killed when it is dropped: it has to end the others first.
    command.envs(&options.env).process_group(0);
    command
}

fn inherited() -> impl Iterator<Item = (&'static str, OsString)> {
    INHERITED.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)))
}
