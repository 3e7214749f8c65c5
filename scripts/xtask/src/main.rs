//! Checks that are longer than a line of shell. `cargo run -p xtask -- arrows` holds the crates' graph
//! against the layout: arrows point one way, and one foreign library has one home.
#![expect(clippy::print_stdout, reason = "a command-line tool")]

mod arrows;
mod circles;
mod sources;

use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    if std::env::args().nth(1).as_deref() == Some("arrows") {
        return arrows::check();
    }
    println!("usage: xtask arrows");
    Ok(ExitCode::from(64))
}
