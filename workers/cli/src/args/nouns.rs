//! The nouns and their verbs: `tidemill NOUNS VERB`.

use std::path::PathBuf;

use clap::Subcommand;

use super::{EntityArgs, Write};

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
        /// Only those that ended within this time, e.g. 24h
        #[arg(long, value_name = "AGE")]
        since: Option<String>,
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
        #[command(flatten)]
        write: Write,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Schedules {
    /// All of them, with their next ticks
    List,
    /// Hold one
    Pause {
        /// The schedule: pipeline/NAME or monitor/NAME, or NAME where that is enough
        name: String,
        #[command(flatten)]
        write: Write,
    },
    /// Let it go on: says which of the ticks that passed meanwhile fire
    Resume {
        /// The schedule
        name: String,
        /// Fire none of the ticks that passed while it was paused
        #[arg(long)]
        skip_missed: bool,
        /// Only say what would fire
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        write: Write,
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
        /// How the files are written: csv, parquet or jsonl; default: as their names say
        #[arg(long)]
        format: Option<String>,
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
        /// Return as soon as it is accepted
        #[arg(long)]
        no_wait: bool,
        #[command(flatten)]
        write: Write,
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
        #[command(flatten)]
        write: Write,
    },
    /// Write the online values again from the lake
    RebuildOnline {
        /// The view
        view: String,
        /// Wait for its end
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        write: Write,
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
        /// Where the result goes; its ending is its format: .parquet, .csv or .jsonl
        #[arg(long)]
        out: PathBuf,
        /// Write over a file that is there
        #[arg(long)]
        force: bool,
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
        #[command(flatten)]
        write: Write,
    },
    /// Give the alias back to the version before; one that named only one version is taken away
    Rollback {
        /// The model
        model: String,
        /// The alias
        #[arg(long, default_value = "champion")]
        alias: String,
        /// Take the alias away: nothing answers under it any more
        #[arg(long)]
        remove: bool,
        #[command(flatten)]
        write: Write,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Monitors {
    /// All of them, with their last scans
    List,
    /// One: its scans, incidents and figures
    Show {
        /// The monitor
        monitor: String,
        /// Write the page of a scanned window
        #[arg(long)]
        html: Option<PathBuf>,
        /// Write over a page that is there
        #[arg(long, requires = "html")]
        force: bool,
        /// Which window; default: the newest
        #[arg(long, requires = "html")]
        window: Option<String>,
    },
    /// Scan one window now
    Run {
        /// The monitor
        monitor: String,
        /// A month (2013-09), a day (2013-09-01), or FROM..TO
        #[arg(long)]
        window: String,
        /// Return as soon as it is accepted
        #[arg(long, conflicts_with = "html")]
        no_wait: bool,
        /// Write its page, with histograms
        #[arg(long)]
        html: Option<PathBuf>,
        /// Write over a page that is there
        #[arg(long, requires = "html")]
        force: bool,
        #[command(flatten)]
        write: Write,
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
        /// Write over a page that is there
        #[arg(long, requires = "html")]
        force: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Alerts {
    /// Newest first
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Clock {
    /// What it shows
    Show,
    /// Move a replay clock forward
    Set {
        /// The instant, e.g. 2013-07-01T00:00:00-04:00
        time: String,
        #[command(flatten)]
        write: Write,
    },
}
