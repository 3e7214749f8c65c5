//! What each command does: one file for a group of commands that belong together.

mod clock;
mod datasets;
mod dev;
mod entity;
mod explain;
mod features;
mod generate;
mod init;
mod lineage;
mod models;
mod monitors;
mod plan;
mod predict;
mod predictions;
mod project;
mod queue;
mod removal;
mod runs;
mod schedules;
mod sources;
mod sql;
mod status;
mod watch;

use std::time::Duration;

use tidemill_core::Fault;

use crate::{
    args::{Cli, Command, Global, Write},
    client::Client,
    config,
    failure::{Done, Failure, UNREACHABLE},
    output::Format,
    roles,
};

/// What commands that talk to a server need.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) format: Format,
    pub(crate) quiet: bool,
    pub(crate) verbose: bool,
    /// How long `--wait` waits.
    pub(crate) wait: Option<Duration>,
    pub(crate) places: config::Places,
}

impl Session {
    fn open(global: &Global) -> Result<Self, Failure> {
        let places = config::Places::find(global.server.as_deref())?;
        let wait = global.timeout;
        let client = Client::new(&places.server, wait)?.verbose(global.verbose);
        let (quiet, verbose) = (global.quiet, global.verbose);
        Ok(Self { client, format: global.output, quiet, verbose, wait, places })
    }

    /// The same for a write that may carry an idempotency key.
    fn writing(&self, write: &Write) -> Self {
        Self { client: self.client.keyed(write.idempotency_key.as_ref()), ..self.clone() }
    }

    /// Where uploads go, URL.
    pub(crate) async fn gateway(&self) -> Result<String, Failure> {
        self.place(self.places.gateway.as_ref(), "gateway").await
    }

    /// Where predictions are answered, URL.
    pub(crate) async fn serve(&self) -> Result<String, Failure> {
        self.place(self.places.serve.as_ref(), "serve").await
    }

    async fn place(&self, known: Option<&String>, role: &str) -> Result<String, Failure> {
        if let Some(place) = known {
            return Ok(place.clone());
        }
        let places = self.client.get("/v1/places").await?;
        places[role].as_str().map(str::to_owned).ok_or_else(|| {
            let fault = Fault::coded(102, format!("{} does not say where its {role} is", self.places.server));
            Failure::new(UNREACHABLE, fault.hint("set TIDEMILL_GATEWAY__LISTEN and TIDEMILL_SERVE__HTTP"))
        })
    }

    /// Says that a list may go on, where it is as long as was asked for.
    pub(crate) fn say_if_cut(&self, shown: usize, limit: u32) {
        if shown == limit as usize {
            self.say(format!("the newest {shown}; --limit shows more, at most 1,000"));
        }
    }

    /// Progress and confirmations, for people, on standard error.
    pub(crate) fn say(&self, text: impl std::fmt::Display) {
        if !self.quiet {
            tidemill_telemetry::say!("{text}");
        }
    }
}

/// Runs the command.
pub(crate) async fn run(cli: Cli) -> Done {
    let global = &cli.global;
    match cli.command {
        Command::Demo(args) => dev::demo(global, args).await,
        Command::Init(args) => init::init(global, &args),
        Command::Dev(args) => dev::dev(global, args).await,
        Command::Check(args) => project::check(global, &args).await,
        Command::Generate(command) => generate::generate(global, command).await,
        Command::Explain { code } => explain::explain(global, &code),
        Command::Server(role) => roles::server(role).await,
        Command::Gateway(role) => roles::gateway(role).await,
        Command::Worker => roles::worker().await,
        Command::Serve(role) => roles::serve(role).await,
        Command::Migrate => roles::migrate().await,
        Command::Plan(args) => plan::plan(&Session::open(global)?, &args).await,
        Command::Apply(args) => project::apply(&Session::open(global)?.writing(&args.write), &args).await,
        Command::Run(args) => runs::start(&Session::open(global)?.writing(&args.write), args).await,
        Command::Retry(args) => runs::retry(&Session::open(global)?.writing(&args.write), args).await,
        Command::Logs(args) => runs::logs(&Session::open(global)?, args).await,
        Command::Status => status::status(&Session::open(global)?).await,
        Command::Sql(args) => sql::sql(&Session::open(global)?, &args).await,
        Command::Predict(args) => predict::predict(&Session::open(global)?, args).await,
        Command::Runs(command) => runs::runs(&Session::open(global)?, command).await,
        Command::Schedules(command) => schedules::schedules(&Session::open(global)?, command).await,
        Command::Queue(command) => queue::queue(&Session::open(global)?, &command).await,
        Command::Workers(command) => queue::workers(&Session::open(global)?, &command).await,
        Command::Sources(command) => sources::sources(&Session::open(global)?, command).await,
        Command::Entities(command) => removal::entities(&Session::open(global)?, command).await,
        Command::Features(command) => features::features(&Session::open(global)?, command).await,
        Command::Datasets(command) => datasets::datasets(&Session::open(global)?, command).await,
        Command::Models(command) => models::models(&Session::open(global)?, command).await,
        Command::Predictions(command) => predictions::predictions(&Session::open(global)?, command).await,
        Command::Monitors(command) => monitors::monitors(global, command).await,
        Command::Alerts(command) => monitors::alerts(&Session::open(global)?, command).await,
        Command::Lineage(args) => lineage::lineage(&Session::open(global)?, args).await,
        Command::Clock(command) => clock::clock(&Session::open(global)?, command).await,
    }
}
