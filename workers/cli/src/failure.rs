//! How a command ends: exit codes, and the one place where an error is printed.

use std::{fmt, io::IsTerminal as _, process::ExitCode};

use serde::{Deserialize, Serialize};
use tidemill_core::Fault;

/// The work failed: a run failed, or `check` found errors.
pub(crate) const FAILED: u8 = 1;
/// The command line is wrong.
pub(crate) const USAGE: u8 = 64;
/// The server can't be reached.
pub(crate) const UNREACHABLE: u8 = 69;
/// Waiting took longer than `--timeout`.
pub(crate) const TIMED_OUT: u8 = 75;
/// Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;

/// Why a command ended without doing what was asked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// The process's exit code.
    #[serde(skip)]
    pub(crate) exit: u8,
    /// What people read. Boxed: it is large, and failures are rare.
    #[serde(flatten)]
    pub(crate) fault: Box<Fault>,
}

/// What commands return.
pub(crate) type Done = Result<(), Failure>;

impl Failure {
    /// A failure with an exit code.
    pub(crate) fn new(exit: u8, fault: Fault) -> Self {
        Self { exit, fault: Box::new(fault) }
    }

    /// The command line is wrong.
    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(USAGE, Fault::coded(101, message).hint(hint))
    }

    /// The work failed, and what there is to say was printed already.
    pub(crate) fn said() -> Self {
        Self::new(FAILED, Fault::new(""))
    }

    /// Prints it to standard error.
    pub(crate) fn report(&self) -> ExitCode {
        if !self.fault.message.is_empty() {
            let (red, plain) = if colour() { ("\u{1b}[1;31m", "\u{1b}[0m") } else { ("", "") };
            let code = self.fault.code.map(|code| format!("[{code}]")).unwrap_or_default();
            eprintln!("{red}error{code}{plain}: {}", self.fault.message);
            let indent = |text: &str| text.lines().map(|line| format!("  {line}\n")).collect::<String>();
            if let Some(detail) = &self.fault.detail {
                eprint!("{}", indent(detail));
            }
            if let Some(hint) = &self.fault.hint {
                eprintln!("  fix: {hint}");
            }
            if let Some(code) = self.fault.code {
                eprintln!("  more: tidemill explain {code}");
            }
        }
        ExitCode::from(self.exit)
    }
}

/// Whether standard error shows colour.
pub(crate) fn colour() -> bool {
    std::env::var_os("NO_COLOR").is_none() && std::io::stderr().is_terminal()
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(FAILED, Fault::new(format!("{:#}", error.into())))
    }
}
