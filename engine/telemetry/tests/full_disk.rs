//! What becomes of a process whose log lines can't be written.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

use std::{
    fs::File,
    process::{Command, Stdio},
};

use tidemill_telemetry::{LogFormat, Options, init};

const LOGS: &str = "TIDEMILL_TEST_LOGS";

/// Runs the test below in a process of its own; true when that logged to its end.
fn survives(format: &str, stderr: impl Into<Stdio>) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "--ignored", "--nocapture", "logs_and_goes_on"])
        .env(LOGS, format)
        .stdout(Stdio::null());
    command.stderr(stderr).status().unwrap().success()
}

#[test]
#[ignore = "run by the tests below"]
fn logs_and_goes_on() {
    let Ok(format) = std::env::var(LOGS) else { return };
    let format = if format == "json" { LogFormat::Json } else { LogFormat::Text };
    init(&Options { format, filter: "info".to_owned(), colour: false });
    tracing::error!(answer = 42, "nobody can read this");
}

#[test]
fn a_full_disk_below_the_log_ends_nobody() {
    for format in ["text", "json"] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        assert!(survives(format, full), "{format}");
    }
}

#[test]
fn a_log_that_nobody_reads_any_more_ends_nobody() {
    for format in ["text", "json"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert!(survives(format, writer), "{format}");
    }
}
