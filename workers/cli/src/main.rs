//! The one binary: every role and every user command. Read [`args`] for what it takes, `commands/` for what a
//! command does, [`failure`] for how it ends.

mod args;
mod client;
mod commands;
mod config;
mod failure;
mod files;
mod output;
mod roles;

use std::process::ExitCode;

use clap::Parser as _;
use rustix::process::DumpableBehavior;

use crate::{args::Cli, failure::Failure};

fn main() -> ExitCode {
    // Settings hold secrets: from here on no other process, user code above all, reads this one's environment or memory.
    // A kernel that can't do it is no reason not to run.
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers; everything else is a wrong command line.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { failure::USAGE } else { 0 });
        }
    };
    let format = cli.global.output;
    if cli.global.no_color {
        failure::without_colour();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::from(error).report(format),
    };
    match runtime.block_on(commands::run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(format),
    }
}
