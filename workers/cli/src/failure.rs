//! How a command ends: exit codes, and the one place where an error is printed.

use std::{
    fmt,
    io::{self, IsTerminal as _},
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
};

use serde_json::json;
use tidemill_core::{Exposed, Fault, JobError};

use crate::output::Format;

/// The work failed: a run failed, or `check` found errors.
pub(crate) const FAILED: u8 = 1;
/// `plan --detailed-exitcode`: applying would change something.
pub(crate) const CHANGES: u8 = 2;
/// The command line is wrong.
pub(crate) const USAGE: u8 = 64;
/// The server can't be reached.
pub(crate) const UNREACHABLE: u8 = 69;
/// Waiting took longer than `--timeout`.
pub(crate) const TIMED_OUT: u8 = 75;
/// Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;

/// Why a command ended without doing what was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The process's exit code.
    pub(crate) exit: u8,
    /// What people read; an empty message was said already. Boxed: it is large, and failures are rare.
    pub(crate) fault: Box<Fault>,
    /// The server that refused, URL: the wrong one may have been asked.
    pub(crate) server: Option<String>,
}

/// What commands return.
pub(crate) type Done = Result<(), Failure>;

impl Failure {
    /// A failure with an exit code.
    pub(crate) fn new(exit: u8, fault: Fault) -> Self {
        Self { exit, fault: Box::new(fault), server: None }
    }

    /// What a server said.
    pub(crate) fn said_by(self, server: &str) -> Self {
        Self { server: Some(server.to_owned()), ..self }
    }

    /// The command line is wrong.
    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(USAGE, Fault::coded(101, message).hint(hint))
    }

    /// The work failed, and what there is to say was printed already.
    pub(crate) fn said() -> Self {
        Self::silent(FAILED)
    }

    /// Nothing but an exit code.
    pub(crate) fn silent(exit: u8) -> Self {
        Self::new(exit, Fault::new(""))
    }

    /// What a job crate says: what would never go better was asked wrongly.
    pub(crate) fn of_job(error: impl Into<JobError>) -> Self {
        match error.into() {
            JobError::Discard(fault) => Self::new(USAGE, fault),
            JobError::Retry(fault)
            | JobError::Died(fault)
            | JobError::Unavailable(fault)
            | JobError::Conflict(fault) => Self::new(FAILED, fault),
            other => Self::new(FAILED, Fault::new(other.to_string())),
        }
    }

    /// Prints it to standard error, for programs as they asked for results; returns the exit code.
    pub(crate) fn report(&self, format: Format) -> ExitCode {
        match format {
            _ if self.fault.message.is_empty() => {}
            Format::Json | Format::Jsonl | Format::Yaml => tidemill_telemetry::say!("{}", self.to_json()),
            Format::Table | Format::Wide | Format::Name => eprint!("{}", self.page(colour())),
        }
        ExitCode::from(self.exit)
    }

    fn to_json(&self) -> serde_json::Value {
        let mut told = json!({ "error": self.fault, "exit": self.exit });
        if let Some(server) = &self.server {
            told["server"] = server.as_str().into();
        }
        told
    }

    fn page(&self, colour: bool) -> String {
        let (red, bold, dim, plain) =
            if colour { ("\u{1b}[1;31m", "\u{1b}[1m", "\u{1b}[2m", "\u{1b}[0m") } else { ("", "", "", "") };
        let code = self.fault.code.map(|code| format!("[{code}]")).unwrap_or_default();
        let lines = |text: &Option<String>, begin: &str| {
            let lines = text.as_deref().unwrap_or_default().lines();
            lines.map(|line| format!("{begin}{line}").trim_end().to_owned()).collect::<Vec<_>>()
        };
        let mut page = vec![format!("{red}error{code}{plain}: {bold}{}{plain}", self.fault.message)];
        page.extend(lines(&self.fault.detail, "  "));
        page.extend(lines(&self.fault.hint, "  = fix: "));
        page.extend(self.server.as_ref().map(|server| format!("  {dim}= server: {server}{plain}")));
        page.extend(self.fault.code.map(|code| format!("  {dim}= more: tidemill explain {code}{plain}")));
        page.push(String::new());
        page.join("\n")
    }
}

/// Whether `--no-color` was given.
static NO_COLOUR: AtomicBool = AtomicBool::new(false);

/// No colours from here on.
pub(crate) fn without_colour() {
    NO_COLOUR.store(true, Ordering::Relaxed);
}

/// Whether standard error shows colour.
pub(crate) fn colour() -> bool {
    let wanted = !NO_COLOUR.load(Ordering::Relaxed)
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    wanted && io::stderr().is_terminal()
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        let broken_pipe =
            error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        // Whoever read the output has read enough: `tidemill runs list | head -1`.
        if broken_pipe {
            return Self::new(0, Fault::new(""));
        }
        let untrusted = error.chain().find_map(|cause| match cause.downcast_ref() {
            Some(cause @ tidemill_blobs::Error::NotPrivate { path, .. }) => Some((cause, path)),
            _ => None,
        });
        if let Some((cause, path)) = untrusted {
            let hint = format!("remove it if you don't know what is in it, or: chmod 700 {}", path.display());
            return Self::new(FAILED, Fault::coded(120, cause.to_string()).hint(hint));
        }
        if let Some(exposed) = error.downcast_ref::<Exposed>() {
            return Self::new(FAILED, exposed.fault());
        }
        Self::new(FAILED, Fault::new(format!("{error:#}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Failure {
        let fault = Fault::coded(801, "there is no model `late_fligt`").hint("did you mean `late_flight`?");
        Failure::new(USAGE, fault.detail("one line\nanother"))
    }

    #[test]
    fn people_read_what_where_and_how_to_fix_it() {
        insta::assert_snapshot!(failure().page(false), @r"
        error[TM0801]: there is no model `late_fligt`
          one line
          another
          = fix: did you mean `late_flight`?
          = more: tidemill explain TM0801
        ");
        assert!(failure().page(true).contains("\u{1b}[1;31m"));
    }

    #[test]
    fn a_refusal_names_the_server_that_refused() {
        let refused = failure().said_by("http://127.0.0.1:7433");
        assert!(refused.page(false).contains("\n  = server: http://127.0.0.1:7433\n"));
        assert_eq!(refused.to_json()["server"], "http://127.0.0.1:7433");
    }

    #[test]
    fn programs_read_the_same_with_the_exit_code() {
        let json = failure().to_json();
        assert_eq!((json["exit"].as_u64(), json["error"]["code"].as_str()), (Some(64), Some("TM0801")));
        assert_eq!(json["error"]["hint"], "did you mean `late_flight`?");
    }

    #[test]
    fn a_folder_that_others_could_have_written_to_is_named_with_its_remedy() {
        let (path, reason) = ("/srv/unpacked".into(), "others may write to it (mode 777)".to_owned());
        let error = anyhow::Error::from(tidemill_blobs::Error::NotPrivate { path, reason });
        insta::assert_snapshot!(Failure::from(error.context("TIDEMILL_UNPACKED")).page(false), @r"
        error[TM0120]: folder `/srv/unpacked` can't be trusted: others may write to it (mode 777)
          = fix: remove it if you don't know what is in it, or: chmod 700 /srv/unpacked
          = more: tidemill explain TM0120
        ");
    }

    #[test]
    fn output_that_nobody_reads_is_no_failure() {
        let broken = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((broken.exit, broken.fault.message.as_str()), (0, ""));
    }
}
