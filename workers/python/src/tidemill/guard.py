"""Starts the worker, and ends with it everything that user code started: `python -P -m tidemill.guard …`.

It forks once. The child gives up what user code must not have and becomes `tidemill.worker`. The parent keeps out of
its way until the worker is gone or Tidemill's end of the socket is closed, whatever closed it, and then kills every
descendant. None is missed for having a session or a group of its own: orphans become this process's children, since
it is their subreaper.
"""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITIES_MAX = 64

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Runs the worker; exits as it did."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    guard = os.getpid()
    worker = os.fork()
    if worker == 0:
        _give_up_powers(guard)
        from tidemill.worker import main

        main()
        return
    status = _watch(worker)
    _kill_descendants()
    _exit_as(status)


def _exit_as(status: int) -> None:
    """Ends by the signal that ended the worker, or with its exit code."""
    if os.WIFSIGNALED(status):
        ended_by = os.WTERMSIG(status)
        # A core file of this process would tell nothing about the worker.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if ended_by != signal.SIGKILL:
            signal.signal(ended_by, signal.SIG_DFL)
        os.kill(os.getpid(), ended_by)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _give_up_powers(guard: int) -> None:
    """Ends with the guard, gains no rights by running programs, and has no rights of root beyond owning files.

    Without CAP_SYS_PTRACE nobody reads the memory or environment of a process that forbids it, as Tidemill's do.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guard:
        os._exit(1)
    os.setpgid(0, 0)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    for capability in range(_CAPABILITIES_MAX):
        # Refused to those who have none, and for numbers that this kernel doesn't know.
        _prctl(_PR_CAPBSET_DROP, capability)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    if _libc.capset(header, none) != 0:
        raise OSError(ctypes.get_errno(), "can't give up capabilities")


def _watch(worker: int) -> int:
    """Waits for the end of the worker or of the conversation, and gives the worker's status; 0 while it runs."""
    ended: dict[int, int] = {}

    def reap(*_: object) -> None:
        for pid, status in _reaped():
            ended[pid] = status

    signal.signal(signal.SIGCHLD, reap)
    conversation = os.dup(0)
    # The log's pipe must close with the worker.
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    ends = select.poll()
    ends.register(os.pidfd_open(worker), select.POLLIN)
    ends.register(conversation, select.POLLRDHUP)
    ends.poll()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    reap()
    return ended.get(worker, 0)


def _reaped() -> list[tuple[int, int]]:
    found = []
    try:
        while (child := os.waitpid(-1, os.WNOHANG))[0]:
            found.append(child)
    except ChildProcessError:
        pass
    return found


def _kill_descendants() -> None:
    """Kills until nothing is left: what is forked meanwhile is found by the next look."""
    while True:
        for pid in _descendants(os.getpid()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _descendants(pid: int) -> list[int]:
    children = [int(child) for tasks in Path(f"/proc/{pid}/task").glob("*/children") for child in _words(tasks)]
    return children + [below for child in children for below in _descendants(child)]


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []


def _prctl(option: int, argument: int) -> None:
    _libc.prctl(option, argument, 0, 0, 0)


if __name__ == "__main__":
    main()
