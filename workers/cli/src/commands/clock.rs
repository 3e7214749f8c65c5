//! The data clock.

use serde_json::{Value, json};

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
        Clock::Set { time, write } => {
            session.writing(&write).client.post("/v1/clock", &json!({ "time": time })).await?
        }
    };
    Ok(output::object(session.format, &shown, "/now", page)?)
}

fn page(clock: &Value) -> String {
    let now = instant(&clock["now"]);
    match clock.pointer("/clock/replay/speed").and_then(Value::as_f64) {
        None => format!("{now}  real time"),
        Some(0.0) => format!("{now}  replay, standing still; move it: tidemill clock set TIME"),
        Some(speed) => format!("{now}  replay at speed {speed}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_says_how_it_goes() {
        let page = |clock| page(&json!({ "now": "2013-06-01T04:00:00Z", "clock": clock }));
        assert_eq!(page(json!("wall")), "2013-06-01 04:00:00Z  real time");
        let replay = |speed: f64| json!({ "replay": { "start": "2013-06-01T04:00:00Z", "speed": speed } });
        assert!(page(replay(0.0)).contains("standing still"));
        assert!(page(replay(60.0)).contains("speed 60"));
    }
}
