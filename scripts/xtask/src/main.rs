//! Checks that are longer than a line of shell.

fn main() {}
