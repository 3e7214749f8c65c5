//! A pool of Python processes: handshake, frames, limits, restart.
