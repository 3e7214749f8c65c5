//! The queue and the workers.

use super::Session;
use crate::{
    args::{Queue, Workers},
    failure::Done,
    output::{self, count, instant, seconds, text},
};

/// `tidemill queue …`
pub(crate) async fn queue(session: &Session, command: &Queue) -> Done {
    let Queue::Stats = command;
    let rows = session.client.list("/v1/queue", &[]).await?;
    let columns = [
        text("KIND", "/kind"),
        text("AVAILABLE", "/available").by(count),
        text("SCHEDULED", "/scheduled").by(count),
        text("RUNNING", "/running").by(count),
        text("OLDEST WAITS", "/oldest_wait_seconds").by(seconds),
    ];
    Ok(output::list(session.format, &rows, "/kind", &columns)?)
}

/// `tidemill workers …`
pub(crate) async fn workers(session: &Session, command: &Workers) -> Done {
    let Workers::List = command;
    let rows = session.client.list("/v1/workers", &[]).await?;
    let columns = [
        text("WORKER", "/name"),
        text("PID", "/pid"),
        text("RUNNING", "/running").by(count),
        text("SLOTS", "/slots").by(count),
        text("DRAINING", "/draining"),
        text("SINCE", "/started_at").by(instant),
        text("SEEN", "/seen_at").by(instant),
        text("ID", "/id").wide(),
    ];
    Ok(output::list(session.format, &rows, "/id", &columns)?)
}
