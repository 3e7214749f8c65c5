//! The roles as subcommands: options from the environment, run until told to stop, drain.

use tokio_util::sync::CancellationToken;

use crate::{config::options, failure::Done};

/// `tidemill server`
pub(crate) async fn server() -> Done {
    tidemill_api::run(options()?, starting("server")?).await?;
    Ok(())
}

/// `tidemill gateway`
pub(crate) async fn gateway() -> Done {
    tidemill_gateway::run(options()?, starting("gateway")?).await?;
    Ok(())
}

/// `tidemill worker`
pub(crate) async fn worker() -> Done {
    tidemill_fleet::run(options()?, starting("worker")?).await?;
    Ok(())
}

/// `tidemill serve`
pub(crate) async fn serve() -> Done {
    tidemill_serve::run(options()?, starting("serve")?).await?;
    Ok(())
}

/// `tidemill migrate`
pub(crate) async fn migrate() -> Done {
    starting("migrate")?;
    tidemill_fleet::migrate(options()?).await?;
    Ok(())
}

/// Logs go to standard error; the token is cancelled by the first signal.
fn starting(role: &str) -> Result<CancellationToken, crate::failure::Failure> {
    tidemill_dev::die_with_parent()?;
    tidemill_telemetry::init(&tidemill_telemetry::Options::default())?;
    tracing::info!(role, "starting");
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        token.cancel();
    });
    Ok(shutdown)
}
