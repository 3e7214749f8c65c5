//! The lake against real servers: an oracle in plain Rust, named scenarios, and the life of files.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests may, outside of test functions too")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "the numbers are small and chosen"
)]

mod ahead;
mod brute;
mod changes;
mod commits;
mod flights;
mod generate;
mod life;
mod memory;
mod oracle;
mod parting;
mod scenarios;
mod users_sql;
mod words;
mod world;
