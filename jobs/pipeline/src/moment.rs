//! What of the lake a step reads: fixed by its first attempt, so that a repeat reads the same.

use serde::{Deserialize, Serialize};
use tidemill_core::{JobError, Time};
use tidemill_offline::{Lake, Version};
use tidemill_runtime::Context;

/// A version of the lake, and the moment of the data clock by which its rows have become known.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Moment {
    pub(crate) version: Version,
    pub(crate) at: Time,
}

/// The moment of a step, which its log tells.
pub(crate) async fn fixed(lake: &Lake, cx: &mut Context<Moment>) -> Result<Moment, JobError> {
    if let Some(moment) = cx.checkpoint() {
        return Ok(*moment);
    }
    let moment = Moment { version: lake.head().await?, at: cx.now_data().await? };
    cx.log(format!("reading what is known by {} on the data clock", moment.at));
    cx.save_checkpoint(moment).await?;
    Ok(moment)
}
