//! Where log lines go: stderr, as text for people or JSON for machines.
//!
//! A line that can't be written is lost: a full disk or a closed pipe below stderr must not end whoever logs.

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line each.
    #[default]
    Text,
    /// One JSON object each.
    Json,
}

/// What is logged, and how.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How lines look.
    pub format: LogFormat,
    /// A filter such as `info,tidemill_store=debug`, unless `RUST_LOG` says otherwise; empty = `warn`.
    pub filter: String,
    /// Colours, for text on a terminal.
    pub colour: bool,
}

/// Sends this process's traces to stderr. The first call wins; later ones change nothing.
pub fn init(options: &Options) {
    let default = if options.filter.is_empty() { "warn" } else { &options.filter };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    // Told of a failed write, the library would print to stderr itself, and panic there.
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    // An error means that a subscriber is set already, as when tests share a process.
    let _already_set = match options.format {
        LogFormat::Text => lines.with_ansi(options.colour).with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}
