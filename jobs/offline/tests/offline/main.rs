//! The lake against real servers: an oracle in plain Rust, named scenarios, and the life of files.

mod brute;
mod flights;
mod generate;
mod life;
mod oracle;
mod scenarios;
mod world;
