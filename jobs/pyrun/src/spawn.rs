//! Starts a Python process in its own group, with its socket as stdin and next to no environment.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::{
        OnceLock,
        mpsc::{Sender, channel},
    },
    thread,
};

use tokio::{
    process::{Child, Command},
    runtime::Handle,
    sync::oneshot,
};

use crate::{PyOptions, output::Output};

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

/// A process that has just been started.
pub(crate) struct Spawned {
    pub(crate) child: Child,
    pub(crate) socket: tokio::net::UnixStream,
    pub(crate) output: Output,
}

/// Starts `python -m tidemill.worker`.
pub(crate) async fn spawn(options: &PyOptions) -> io::Result<Spawned> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let (lines, writer) = io::pipe()?;
    let mut command = command(options);
    command.stdin(OwnedFd::from(theirs)).stdout(writer.try_clone()?).stderr(writer);
    let child = on_lasting_thread(command).await?;
    Ok(Spawned { child, socket: tokio::net::UnixStream::from_std(ours)?, output: Output::new(lines)? })
}

fn command(options: &PyOptions) -> Command {
    let mut command = Command::new(&options.python);
    command.args(["-m", "tidemill.worker"]);
    if let Some(code) = &options.code {
        command.arg("--code").arg(code);
    }
    command.arg("--memory-bytes").arg(options.memory_bytes.to_string());
    command.env_clear().envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    if let Some(package) = &options.package {
        command.env("PYTHONPATH", package);
    }
    // One thread a process unless its code says otherwise: several processes share the machine's cores. The
    // system's allocator reserves no more than it uses, so that the memory limit measures use.
    command.envs([
        ("OMP_NUM_THREADS", "1"),
        ("OPENBLAS_NUM_THREADS", "1"),
        ("ARROW_DEFAULT_MEMORY_POOL", "system"),
    ]);
    command.envs([("TZ", "UTC"), ("PYTHONUNBUFFERED", "1"), ("PYTHONDONTWRITEBYTECODE", "1")]);
    command.envs(&options.env).process_group(0).kill_on_drop(true);
    command
}

/// Spawns on a thread that lives as long as the program: a child that asks to die with its parent
/// (`PR_SET_PDEATHSIG`) dies with the *thread* that started it, and an async runtime's threads come and go.
async fn on_lasting_thread(command: Command) -> io::Result<Child> {
    type Order = (Command, Handle, oneshot::Sender<io::Result<Child>>);
    static THREAD: OnceLock<Sender<Order>> = OnceLock::new();
    let orders = THREAD.get_or_init(|| {
        let (orders, taken) = channel::<Order>();
        thread::spawn(move || {
            for (mut command, runtime, reply) in taken {
                let _within = runtime.enter();
                // Nobody waits any more: the child is dropped here, and killed by that.
                let _ = reply.send(command.spawn());
            }
        });
        orders
    });
    let (reply, spawned) = oneshot::channel();
    let gone = || io::Error::other("the thread that starts processes is gone");
    orders.send((command, Handle::current(), reply)).map_err(|_| gone())?;
    spawned.await.map_err(|_| gone())?
}
