//! Embedded servers and every role in one process tree; the demo.
