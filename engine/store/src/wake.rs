//! Wake-ups: hints that there is work, never part of the truth.
//!
//! A notification inside a transaction that carries work would make all commits wait for each other, so it is sent
//! after the commit, on its own, and workers look by themselves from time to time anyway.

use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::postgres::PgListener;

use crate::{Error, Store, sessions::Sessions};

const CHANNEL: &str = "tidemill_work";

/// Wake-ups as they arrive.
#[derive(Debug)]
pub struct Wakeups {
    listener: PgListener,
    sessions: Sessions,
}

impl Store {
    /// Tells every worker that there is work. Call it after the commit; a failure costs latency only.
    ///
    /// Callers that come while one waits for a connection rely on that one: its message is still to be sent.
    pub async fn wake(&self) {
        if self.wake_coming.swap(true, Ordering::SeqCst) {
            return;
        }
        let coming = Coming(&self.wake_coming);
        let connection = self.pool.acquire().await;
        drop(coming);
        let sent =
            async { sqlx::query("SELECT pg_notify($1, '')").bind(CHANNEL).execute(&mut *connection?).await };
        if let Err(error) = sent.await {
            tracing::debug!(%error, "a wake-up was not sent");
        }
    }

    /// Listens for wake-ups on a connection of its own.
    pub async fn listen(&self) -> Result<Wakeups, Error> {
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.listen(CHANNEL).await?;
        Ok(Wakeups { listener, sessions: self.sessions.clone() })
    }
}

/// A wake-up that is about to be sent; taken back also when its sender is dropped on the way.
struct Coming<'w>(&'w AtomicBool);

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl Wakeups {
    /// Waits for the next one. Reconnects by itself; a connection that was lost counts as a wake-up.
    ///
    /// # Errors
    /// When the database can't be reached, or wants to stop: drop this then, and listen again later.
    pub async fn next(&mut self) -> Result<(), Error> {
        tokio::select! {
            heard = self.listener.try_recv() => heard.map(drop)?,
            () = self.sessions.stopping() => return Err(sqlx::Error::PoolClosed.into()),
        }
        Ok(())
    }
}
