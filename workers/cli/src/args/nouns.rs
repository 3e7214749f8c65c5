//! The nouns and their verbs: `tidemill NOUNS VERB`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{EntityArgs, Write};

#[derive(Debug, Subcommand)]
pub(crate) enum Runs {
    /// List runs, newest first
    List {
        /// Only runs in this state
        #[arg(long)]
        state: Option<String>,
        /// Only runs of this pipeline, or this kind of job
        #[arg(long)]
        pipeline: Option<String>,
        /// Include jobs of the platform itself
        #[arg(long)]
        all: bool,
        /// Only runs that ended within this time, e.g. 24h
        #[arg(long, value_name = "AGE")]
        since: Option<String>,
        /// The maximum number of runs
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Show the steps, attempts, outputs and errors of a run
    Show {
        /// The id of the run
        run: String,
    },
    /// Cancel a run
    Cancel {
        /// The id of the run
        run: String,
        #[command(flatten)]
        write: Write,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Schedules {
    /// List schedules with their next ticks
    List,
    /// Pause a schedule
    Pause {
        /// The schedule: pipeline/NAME or monitor/NAME, or NAME if only one has it
        name: String,
        #[command(flatten)]
        write: Write,
    },
    /// Resume a schedule and show which of the missed ticks fire
    Resume {
        /// The schedule: pipeline/NAME or monitor/NAME, or NAME if only one has it
        name: String,
        /// Fire none of the ticks that were missed during the pause
        #[arg(long)]
        skip_missed: bool,
        /// Only show which ticks would fire
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        write: Write,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Queue {
    /// Count jobs by kind and state
    Stats,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Workers {
    /// List worker processes
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Sources {
    /// List sources
    List,
    /// Show the columns, rows and uploads of a source
    Show {
        /// The name of the source
        source: String,
    },
    /// Upload files to a source
    Upload {
        /// The name of the source
        source: String,
        /// The files, in CSV, Parquet or JSONL
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The format of the files: csv, parquet or jsonl; default: from the ends of their names
        #[arg(long)]
        format: Option<String>,
        /// Ingest a file again even if it was ingested before
        #[arg(long)]
        force: bool,
        /// Return as soon as the files are accepted
        #[arg(long)]
        no_wait: bool,
    },
    /// Push rows to a source in one call
    Push {
        /// The name of the source
        source: String,
        /// A row as a JSON object; may be repeated
        #[arg(long = "row", value_name = "JSON", required_unless_present = "file")]
        rows: Vec<String>,
        /// A file of JSON lines, or with a JSON array; - reads standard input
        #[arg(long, conflicts_with = "rows")]
        file: Option<PathBuf>,
        /// Wait until every view that reads the source has the rows
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        write: Write,
    },
    /// Take away all rows and dead letters of a source; views over it are filled anew
    Truncate {
        /// The name of the source
        source: String,
        #[command(flatten)]
        removal: Removal,
    },
    /// Take away what is left of a source that is no longer declared
    Drop {
        /// The name of the source
        source: String,
        #[command(flatten)]
        removal: Removal,
    },
    /// Show rows that were rejected, with reason and position
    DeadLetters {
        /// The name of the source
        source: String,
        /// The maximum number of rows
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Read dead letters again, after the source was corrected
    Replay {
        /// The name of the source
        source: String,
        /// Return as soon as the replay is accepted
        #[arg(long)]
        no_wait: bool,
        #[command(flatten)]
        write: Write,
    },
}

/// What every command takes that takes rows away.
#[derive(Debug, Args)]
pub(crate) struct Removal {
    /// Only show what would be touched
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Don't ask for confirmation
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Return as soon as it is accepted
    #[arg(long)]
    pub(crate) no_wait: bool,
    #[command(flatten)]
    pub(crate) write: Write,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Entities {
    /// Erase an entity: its rows at every version, its values in Redis, the files it was uploaded with
    Erase {
        /// The name of the entity
        entity: String,
        /// NAME=VALUE for each key column, or all values in declared order: A/B/C
        #[arg(long = "key", required = true, value_name = "KEY")]
        keys: Vec<String>,
        #[command(flatten)]
        removal: Removal,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Features {
    /// List feature views
    List,
    /// Show the features, versions and freshness of a view
    Show {
        /// The name of the view
        view: String,
    },
    /// Read the feature values of an entity
    Get {
        /// A view; default: all views of the entity
        #[arg(long = "view")]
        views: Vec<String>,
        #[command(flatten)]
        entity: EntityArgs,
        /// Read values as of this moment, from the lake; default: now, from Redis
        #[arg(long)]
        at: Option<String>,
        /// Use only rows that were accepted by this moment: an instant, or `label` for the moment of --at
        #[arg(long, requires = "at")]
        known_at: Option<String>,
    },
    /// Show every value that an entity ever had
    History {
        /// The name of the view
        view: String,
        #[command(flatten)]
        entity: EntityArgs,
        /// The maximum number of rows
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Compare online values with offline values, entity by entity
    Parity {
        /// The name of the view
        view: String,
    },
    /// Recompute a view into a new version, then switch to it; with --from, rows of a range where they are
    Backfill {
        /// The name of the view
        view: String,
        /// Compute only those rows again that became known at this moment or later
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// And before this moment; default: now
        #[arg(long, value_name = "TIME", requires = "from")]
        to: Option<String>,
        /// Only show what would be touched
        #[arg(long, requires = "from")]
        dry_run: bool,
        /// Wait until the backfill ends
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        write: Write,
    },
    /// Compute the rows again that are dead letters of a view, once the cause is mended
    Replay {
        /// The name of the view
        view: String,
        /// Only show what would be touched
        #[arg(long)]
        dry_run: bool,
        /// Return as soon as the replay is accepted
        #[arg(long)]
        no_wait: bool,
        #[command(flatten)]
        write: Write,
    },
    /// Rewrite a view's online values from the lake
    RebuildOnline {
        /// The name of the view
        view: String,
        /// Wait until the rebuild ends
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        write: Write,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Datasets {
    /// List datasets, newest first
    List,
    /// Show the rows, versions and leak report of a dataset
    Show {
        /// The id of the dataset
        dataset: String,
    },
    /// Join features to labels, as of the moment of each label
    Build {
        /// A file with key columns and `label_ts`: Parquet, CSV or JSONL
        #[arg(long)]
        labels: PathBuf,
        /// A model, or views: VIEW or VIEW:FEATURE, separated by commas
        #[arg(long, required = true, value_delimiter = ',')]
        inputs: Vec<String>,
        /// A label over windows to compute for each row, as a column of its name
        #[arg(long)]
        label: Option<String>,
        /// Use only rows that were accepted by this moment: an instant, or `label` for each row's own moment
        #[arg(long)]
        known_at: Option<String>,
        /// The file to write; its name ends in .parquet, .csv or .jsonl, which sets the format
        #[arg(long)]
        out: PathBuf,
        /// Overwrite the file if it exists
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Models {
    /// List models with their champions
    List,
    /// Show the versions, metrics and latencies of a model
    Show {
        /// The name of the model
        model: String,
    },
    /// Register a model file as a version: a pickle, ONNX, a booster, or a folder that MLflow saved
    Register(RegisterArgs),
    /// Let a version answer a growing share of an alias's entities; it is promoted, or rolled back if it does worse
    Canary(CanaryArgs),
    /// Point an alias, e.g. champion, at a version; a rollout of the version ends
    Promote {
        /// The name of the model
        model: String,
        /// The number of the version
        version: u32,
        /// The alias to move
        #[arg(long, default_value = "champion")]
        alias: String,
        #[command(flatten)]
        write: Write,
    },
    /// End the rollout of an alias; without one, point the alias back at its previous version, or remove it if it has none
    Rollback {
        /// The name of the model
        model: String,
        /// The alias to move
        #[arg(long, default_value = "champion")]
        alias: String,
        /// Remove the alias; requests that name it then fail
        #[arg(long)]
        remove: bool,
        #[command(flatten)]
        write: Write,
    },
}

/// What `models canary` takes.
#[derive(Debug, Args)]
pub(crate) struct CanaryArgs {
    /// The name of the model
    pub(crate) model: String,
    /// The number of the version
    pub(crate) version: u32,
    /// The alias that is on its way
    #[arg(long, default_value = "champion")]
    pub(crate) alias: String,
    /// Shares of the entities in percent, one after the other
    #[arg(long, value_delimiter = ',', default_value = "10,50")]
    pub(crate) steps: Vec<u32>,
    /// How long each share lasts at least
    #[arg(long, default_value = "15m")]
    pub(crate) every: String,
    /// How many entities must have asked the version before a share ends
    #[arg(long, value_name = "COUNT", default_value_t = 500)]
    pub(crate) min_entities: u64,
    /// Roll back when more of its requests fail, e.g. 0.01
    #[arg(long, value_name = "SHARE")]
    pub(crate) max_error_rate: Option<f64>,
    /// Roll back when its p95 is above, in milliseconds
    #[arg(long, value_name = "MS")]
    pub(crate) max_p95_ms: Option<f64>,
    #[command(flatten)]
    pub(crate) write: Write,
}

/// What `models register` takes.
#[derive(Debug, Args)]
pub(crate) struct RegisterArgs {
    /// The name of the model
    pub(crate) model: String,
    /// The file or folder, of this machine or s3://BUCKET/KEY: .pkl, .joblib, .onnx, .ubj, .json, .txt
    #[arg(long)]
    pub(crate) file: String,
    /// Rows that it was trained on, .csv or .parquet; default: the newest dataset of the model
    #[arg(long, value_name = "ROWS")]
    pub(crate) sample: Option<String>,
    /// Point an alias, e.g. champion, at the version once it is registered
    #[arg(long, value_name = "ALIAS", conflicts_with = "no_wait")]
    pub(crate) promote: Option<String>,
    /// Return as soon as the registration is accepted
    #[arg(long)]
    pub(crate) no_wait: bool,
    #[command(flatten)]
    pub(crate) write: Write,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Predictions {
    /// List logged predictions, newest first
    List {
        /// The name of the model
        #[arg(long)]
        model: String,
        /// Only of this entity: KEY=VALUE once for each key, or all values in declared order
        #[arg(long = "entity", value_name = "ENTITY")]
        entity: Vec<String>,
        /// Only those answered since: an age, e.g. 24h, or an instant; real time
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Only those of this version
        #[arg(long)]
        version: Option<u32>,
        /// Only those that failed
        #[arg(long)]
        errors: bool,
        /// The maximum number of predictions
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Show what a prediction was asked, what the model saw and what it said
    Show {
        /// The id of the prediction
        prediction: String,
    },
    /// Predict again what was logged, and compare the features with what the lake knew then
    Replay {
        /// The id of the prediction
        prediction: String,
        #[command(flatten)]
        write: Write,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Monitors {
    /// List monitors with their last scans
    List,
    /// Show the scans, incidents and figures of a monitor
    Show {
        /// The name of the monitor
        monitor: String,
        /// Write the report of a scanned window as an HTML page
        #[arg(long)]
        html: Option<PathBuf>,
        /// Overwrite the page if it exists
        #[arg(long, requires = "html")]
        force: bool,
        /// The window to report; default: the newest
        #[arg(long, requires = "html")]
        window: Option<String>,
    },
    /// Scan a window now
    Run {
        /// The name of the monitor
        monitor: String,
        /// The window: a month (2013-09), a day (2013-09-01), or FROM..TO
        #[arg(long)]
        window: String,
        /// Return as soon as the scan is accepted
        #[arg(long, conflicts_with = "html")]
        no_wait: bool,
        /// Write the report, with histograms, as an HTML page
        #[arg(long)]
        html: Option<PathBuf>,
        /// Overwrite the page if it exists
        #[arg(long, requires = "html")]
        force: bool,
        #[command(flatten)]
        write: Write,
    },
    /// Compare two files by the same figures as a monitor
    Compare {
        /// The reference file
        reference: PathBuf,
        /// The file to compare with the reference
        current: PathBuf,
        /// The columns to compare, separated by commas; default: all
        #[arg(long, value_delimiter = ',')]
        columns: Vec<String>,
        /// Write a self-contained HTML page
        #[arg(long)]
        html: Option<PathBuf>,
        /// Overwrite the page if it exists
        #[arg(long, requires = "html")]
        force: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Alerts {
    /// List incidents, newest first
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Clock {
    /// Show the data clock
    Show,
    /// Move a replay clock forward
    Set {
        /// The new time, e.g. 2013-07-01T00:00:00-04:00
        time: String,
        #[command(flatten)]
        write: Write,
    },
}
