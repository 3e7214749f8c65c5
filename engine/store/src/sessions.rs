//! Letting go of a server that wants to stop.
//!
//! A Postgres that was asked to stop politely takes no new session and waits until those it has are given up, and
//! tells nobody: idle sessions would keep it for ever. So whoever has sessions asks now and then for another one, and
//! when that is refused gives up each as soon as it is idle, until the server takes sessions again.

use std::{sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions as _, Connection as _, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::{sync::watch, task::JoinHandle};

/// How often a new session is asked for.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// The same while the server takes none.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(500);
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// What the pools and listeners of one process know about the server.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    stopping: watch::Sender<bool>,
}

/// Ends the task when the last store is dropped.
#[derive(Debug)]
pub(crate) struct Asking(JoinHandle<()>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self { stopping: watch::Sender::new(false) }
    }
}

impl Sessions {
    /// A pool whose sessions are closed instead of kept while the server wants to stop.
    pub(crate) fn pool(&self, options: PgPoolOptions, connect: PgConnectOptions) -> PgPool {
        let (before, after) = (self.stopping.subscribe(), self.stopping.subscribe());
        options
            .before_acquire(move |_, _| {
                let keep = !*before.borrow();
                Box::pin(async move { Ok(keep) })
            })
            .after_release(move |_, _| {
                let keep = !*after.borrow();
                Box::pin(async move { Ok(keep) })
            })
            .connect_lazy_with(connect)
    }

    /// Returns when the server wants to stop.
    pub(crate) async fn stopping(&self) {
        // It fails only without a sender, and we are one.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// Asks for as long as the returned value is held.
    pub(crate) fn ask(&self, pool: PgPool) -> Arc<Asking> {
        Arc::new(Asking(tokio::spawn(ask(self.stopping.clone(), pool))))
    }
}

async fn ask(stopping: watch::Sender<bool>, pool: PgPool) {
    loop {
        let was = *stopping.borrow();
        tokio::time::sleep(if was { ASK_AGAIN_AFTER } else { ASK_EVERY }).await;
        // Without a session there is nothing to give up.
        if !was && pool.size() == 0 {
            continue;
        }
        let stops = match admits(&pool).await {
            Some(admits) => !admits,
            None => was,
        };
        if stops && !was {
            tracing::warn!("Postgres takes no new sessions: ours are given up until it does again");
        }
        stopping.send_if_modified(|known| std::mem::replace(known, stops) != stops);
        while stops && let Some(idle) = pool.try_acquire() {
            // It may be broken already.
            let _ = idle.close().await;
        }
    }
}

/// Whether the server takes new sessions; `None` when it doesn't say.
pub(crate) async fn admits(pool: &PgPool) -> Option<bool> {
    let options = pool.connect_options();
    match tokio::time::timeout(ANSWER_WITHIN, options.connect()).await.ok()? {
        Ok(connection) => {
            // Whether it hears our goodbye changes nothing.
            let _ = connection.close().await;
            Some(true)
        }
        // `cannot_connect_now`: it stops, or has just been started.
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("57P03") => Some(false),
        Err(_) => None,
    }
}
