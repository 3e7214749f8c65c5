"""User code of the tests: what people write, and what goes wrong with it."""

import ctypes
import os
import signal
import subprocess
import time


def double(row):
    return {"y": None if row["x"] is None else row["x"] * 2}


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
