"""A module that only another module imports."""


def answer():
    return 42
