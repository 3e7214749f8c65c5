"""User code of the tests: what people write, and what goes wrong with it."""

import ctypes
import datetime
import faulthandler
import os
import pickle
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path


def double(row):
    return {"y": None if row["x"] is None else row["x"] * 2}


def typed(row):
    if row["p"] is None:
        raise ValueError("no price")
    assert isinstance(row["p"], Decimal)
    return dict(row)


def typed_batch(table):
    if table.column("p").null_count:
        raise ValueError("no price")
    return table.to_pandas()


def picky(row):
    if row["x"] == 3:
        raise ValueError("no threes")
    return {"y": row["x"]}


def environment(row):
    return {"y": float("TIDEMILL_SECRET" in os.environ)}


def picky_batch(table):
    if 3 in table.column("x").to_pylist():
        raise ValueError("no threes")
    return table.rename_columns(["y"])


def hang(row):
    time.sleep(3600)


def eat_at_once(ctx, dataset, out):
    return {"size": len(bytearray(64 << 30))}


def eat_slowly(ctx, dataset, out):
    kept = []
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    shared, anonymous, read_write = 1, 0x20, 3
    while True:
        # Shared pages are not counted by the limit inside, only by the watch from outside.
        at = libc.mmap(None, 16 << 20, read_write, shared | anonymous, -1, 0)
        ctypes.memset(at, 1, 16 << 20)
        kept.append(at)


def crash_on_three(row):
    if row["x"] == 3:
        os.kill(os.getpid(), signal.SIGSEGV)
    return double(row)


def hang_on_three(row):
    if row["x"] == 3:
        time.sleep(3600)
    return double(row)


def eat_on_three(row):
    if row["x"] == 3:
        bytearray(64 << 30)
    return double(row)


def each(function, table):
    return {"y": [function(row)["y"] for row in table.to_pylist()]}


def crash_batch(table):
    return each(crash_on_three, table)


def hang_batch(table):
    return each(hang_on_three, table)


def eat_batch(table):
    return each(eat_on_three, table)


def slow(row):
    time.sleep(0.05)
    return double(row)


def talkative(row):
    print("got", row["x"])
    if row["x"] == 3:
        print("the end", end="")
    return double(row)


def step(ctx, dataset, out):
    print("one")
    print("two", end="")
    ctx.log_params({"trees": 10})
    ctx.checkpoint({"tree": ctx.params["from"] + 1, "seen": ctx.last_checkpoint})
    ctx.log_metrics({"auc": 0.75})
    os.system("echo from a child")
    (out / "made.txt").write_text("made")
    return {"trees": 10}


def writes_to_its_streams(ctx, dataset, out):
    subprocess.run(["echo", "from subprocess"], stdout=sys.stdout, check=True)
    sys.stdout.buffer.write(b"bytes \xff\n")
    sys.stdout.buffer.flush()
    print("to stderr", file=sys.stderr)
    print("half a character \ud800")
    faulthandler.enable()
    print(sys.stdout.encoding, sys.stdout.fileno(), sys.stderr.fileno())
    os.write(1, b"past Python\n")


def dies_with_a_trace(ctx, dataset, out):
    faulthandler.enable()
    print("before")
    os.kill(os.getpid(), signal.SIGSEGV)


def progress_then_raise(ctx, dataset, out):
    for step in range(200_001):
        sys.stderr.write(f"\r{step} of 200000 [{'#' * (step // 10_000):20}]")
        sys.stderr.flush()
        if step % 50_000 == 0:
            ctx.checkpoint(step)
    raise ValueError("after all that")


def gives_what_json_cannot_hold(ctx, dataset, out):
    ctx.log_params({"text": "a\0b", "limit": float("inf")})
    ctx.log_metrics({"loss": float("nan")})
    ctx.checkpoint({"best": float("-inf"), "name": "c\0"})
    print("nul \0 and half \udfff")
    return {"auc": float("nan"), "name\0": "d\0", "rows": 2**70}


def raises_nul(ctx, dataset, out):
    raise ValueError("a\0b \ud800")


def returns_too_much(ctx, dataset, out):
    return {"text": "x" * (17 << 20)}


def returns_objects(ctx, dataset, out):
    day = datetime.date(2013, 6, 1)
    return {"auc": Decimal("0.5"), "day": day, "seen": {"UA", "AA"}, (1, "AA"): 2, "model": ...}


def returns_a_list(ctx, dataset, out):
    return [0.5, 0.75]


def reads_a_cut_pickle(ctx, dataset, out):
    return pickle.loads(b"")


def writes_to_a_closed_pipe(ctx, dataset, out):
    reading, writing = os.pipe()
    os.close(reading)
    os.write(writing, b"nobody reads this")


def forks(ctx, dataset, out):
    for end in ("returns", "raises"):
        if os.fork() == 0:
            if end == "raises":
                raise ValueError("in the child")
            return {"who": "child"}
        os.wait()
    return {"who": "parent"}


def forks_for_each_row(row):
    if os.fork() == 0:
        return {"y": -1.0}
    os.wait()
    return double(row)


def failing_step(ctx, dataset, out):
    print("before")
    raise KeyError("tailnum")


def threads(ctx, dataset, out):
    return {"threads": os.environ["OMP_NUM_THREADS"]}


def with_a_child(ctx, dataset, out):
    child = subprocess.Popen(["sleep", "3600"])
    ids = f"{os.getpid()} {child.pid}"
    print(ids)
    if "told" in ctx.params:
        with open(ctx.params["told"], "w") as file:
            file.write(ids + "\n")
    time.sleep(3600)


def leaves_a_daemon(ctx, dataset, out):
    command = "setsid sleep 3600 > /dev/null 2>&1 & echo $!"
    return {"pid": subprocess.check_output(["sh", "-c", command], text=True).strip()}


def leaves_a_daemon_for_each_row(row):
    Path(os.environ["TOLD"]).write_text(leaves_a_daemon(None, None, None)["pid"])
    return double(row)


def against_its_guard(ctx, dataset, out):
    daemon = leaves_a_daemon(ctx, dataset, out)["pid"]
    print(os.getpid(), daemon)
    # Long enough to have been seen.
    time.sleep(0.5)
    os.kill(os.getppid(), getattr(signal, ctx.params["signal"]))
    time.sleep(3600)


def reads_the_settings(ctx, dataset, out):
    found = {}
    for name in ("environ", "maps", "mem"):
        try:
            with open(f"/proc/{ctx.params['pid']}/{name}", "rb") as file:
                found[name] = len(file.read(100))
        except OSError as error:
            found[name] = type(error).__name__
    return found


def children_that_eat(ctx, dataset, out):
    # Shared memory, since a child alone may not have more of its own than the limit.
    size = ctx.params["bytes_each"]
    script = f"import mmap, time; held = mmap.mmap(-1, {size}); [held.write(bytes(1 << 20)) for _ in range({size} >> 20)]"
    script += "; print(flush=True); time.sleep(3600)"
    children = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) for _ in range(ctx.params["children"])
    ]
    for child in children:
        child.stdout.readline()
    time.sleep(3600)


def children_that_share(ctx, dataset, out):
    held = bytearray(100 << 20)
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            time.sleep(0.5)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    return {"held": len(held)}


def killed_once(row):
    marker = Path(os.environ["TOLD"])
    if row["x"] == 3 and not marker.exists():
        marker.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    return double(row)
