//! The data clock.

use serde_json::json;

use super::Session;
use crate::{
    args::Clock,
    failure::Done,
    output::{self, instant},
};

/// `tidemill clock …`
pub(crate) async fn clock(session: &Session, command: Clock) -> Done {
    let shown = match command {
        Clock::Show => session.client.get("/v1/clock").await?,
        Clock::Set { time } => session.client.post("/v1/clock", &json!({ "time": time })).await?,
    };
    Ok(output::object(session.format, &shown, "/now", |clock| {
        let kind = if clock["clock"] == "wall" { "wall" } else { "replay" };
        format!("{} ({kind})", instant(&clock["now"]))
    })?)
}
