"""A module that hangs where it is imported."""

import time

time.sleep(3600)


def f(row):
    return row
