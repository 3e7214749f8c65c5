//! Runs jobs: the Job trait, their Context, and the worker loop on apalis.
