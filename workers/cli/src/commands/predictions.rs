//! The prediction log: what serving answered, and one answer again.

use serde_json::{Value, json};

use super::{Session, entity, watch::wait_for};
use crate::{
    args::Predictions,
    client::segment,
    failure::Done,
    output::{self, facts, instant, plain, section, text},
};

const COLUMNS: &[output::Column] = &[
    text("PREDICTION", "/id"),
    text("ANSWERED", "/answered_at").by(instant),
    text("VERSION", "/version"),
    text("ENTITY", "/entity").by(pairs),
    text("SAID", "").by(said),
    text("MS", "/latency_ms").by(milliseconds),
    text("ASKED AS", "/asked_as").wide(),
    text("DATA CLOCK", "/at").by(instant).wide(),
    text("WITHOUT A VALUE", "/defaulted").wide(),
    text("REQUEST", "/request").wide(),
];

/// `tidemill predictions …`
pub(crate) async fn predictions(session: &Session, command: Predictions) -> Done {
    match command {
        Predictions::List { model, entity, since, version, errors, limit } => {
            let entity =
                if entity.is_empty() { None } else { Some(entity::keys("--entity", &entity)?.to_string()) };
            let query = [
                ("model", Some(model)),
                ("entity", entity),
                ("since", since),
                ("version", version.map(|version| version.to_string())),
                ("errors", errors.then(|| "true".to_owned())),
                ("limit", Some(limit.to_string())),
            ];
            let rows = session.client.list("/v1/predictions", &query).await?;
            output::list(session.format, &rows, "/id", COLUMNS)?;
            session.say_if_cut(rows.len(), limit);
            Ok(())
        }
        Predictions::Show { prediction } => {
            let found = session.client.get(&format!("/v1/predictions/{}", segment(&prediction))).await?;
            Ok(output::object(session.format, &found, "/id", show)?)
        }
        Predictions::Replay { prediction, write } => {
            let path = format!("/v1/predictions/{}/replay", segment(&prediction));
            let started = session.writing(&write).client.post(&path, &json!({})).await?;
            let page = wait_for(session, &plain(&started["run_id"])).await?;
            let replay = &page["step_list"][0]["outputs"];
            Ok(output::object(session.format, replay, "/id", replayed)?)
        }
    }
}

/// `carrier=UA flight=1545`
fn pairs(named: &Value) -> String {
    let pairs = named.as_object().into_iter().flatten();
    pairs.map(|(name, value)| format!("{name}={}", plain(value))).collect::<Vec<_>>().join(" ")
}

/// The outputs, or the code of the error.
fn said(row: &Value) -> String {
    if row["code"].is_null() { pairs(&row["outputs"]) } else { plain(&row["code"]) }
}

fn milliseconds(value: &Value) -> String {
    value.as_f64().map_or_else(|| plain(value), |number| format!("{number:.1}"))
}

/// One prediction for people.
fn show(found: &Value) -> String {
    let rows = |named: &Value| {
        let named = named.as_object().into_iter().flatten();
        Value::from(named.map(|(name, value)| json!({ "name": name, "value": value })).collect::<Vec<_>>())
    };
    let columns = [text("COLUMN", "/name"), text("VALUE", "/value")];
    let views = [
        text("VIEW", "/view"),
        text("VERSION", "/version"),
        text("STATUS", "/status"),
        text("VALID AT", "/valid_at").by(instant),
    ];
    facts(&[
        ("prediction", plain(&found["id"])),
        ("request", plain(&found["request"])),
        ("model", plain(&found["model"])),
        ("version", plain(&found["version"])),
        ("asked as", plain(&found["asked_as"])),
        ("entity", pairs(&found["entity"])),
        ("answered", instant(&found["answered_at"])),
        ("data clock", instant(&found["at"])),
        ("took", format!("{} ms", milliseconds(&found["latency_ms"]))),
        ("error", plain(&found["code"])),
        ("without a value", plain(&found["defaulted"])),
        ("masked", plain(&found["masked"])),
    ]) + &section("outputs", &rows(&found["outputs"]), &columns)
        + &section("features", &rows(&found["features"]), &columns)
        + &section("views", &found["views"], &views)
}

/// What came of a replay, for people: the verdict first, then only what differs.
fn replayed(replay: &Value) -> String {
    let version = format!("{} v{}", plain(&replay["model"]), plain(&replay["version"]));
    let model = match replay["same_outputs"].as_bool() {
        Some(true) => format!("✓ {version} says the same of the logged features"),
        None => format!("! whether {version} says the same can't be said"),
        Some(false) => format!("✗ {version} says something else of the logged features"),
    };
    let features = match replay["same_features"].as_bool() {
        Some(true) => "✓ the lake knew the same features at that moment".to_owned(),
        None => "! no feature could be compared with the lake".to_owned(),
        Some(false) => "✗ the lake knew other features at that moment".to_owned(),
    };
    let masked = plain(&replay["masked"]);
    let masked = (!masked.is_empty())
        .then(|| format!("! masked in the log, taken from the lake where it has them: {masked}"));
    let notes = replay["notes"].as_array().into_iter().flatten().map(|note| format!("! {}", plain(note)));
    let head: Vec<String> = [model, features].into_iter().chain(masked).chain(notes).collect();
    let differing = |compared: &Value| {
        let rows = compared.as_array().into_iter().flatten().filter(|one| one["same"] == false);
        Value::from(rows.cloned().collect::<Vec<_>>())
    };
    let then = |now| [text("COLUMN", "/column"), text("LOGGED", "/logged"), text(now, "/now")];
    let facts = facts(&[
        ("prediction", plain(&replay["id"])),
        ("answered", instant(&replay["answered_at"])),
        ("data clock", instant(&replay["at"])),
    ]);
    format!("{facts}\n{}\n", head.join("\n"))
        + &section("outputs that differ", &differing(&replay["outputs"]), &then("NOW"))
        + &section("features that differ", &differing(&replay["features"]), &then("LAKE"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prediction_says_what_the_model_saw() {
        insta::assert_snapshot!(show(&json!({
            "id": "prd_1", "request": "req_1", "model": "late_flight", "version": 2, "asked_as": "champion",
            "at": "2013-06-01T04:00:00Z", "answered_at": "2026-12-01T12:00:00Z", "latency_ms": 1.27, "code": null,
            "entity": { "carrier": "UA", "flight": 1545 }, "outputs": { "late_probability": 0.25 },
            "features": { "hour": 9, "distance": null },
            "views": [{ "view": "schedule", "version": 1, "status": "fresh", "valid_at": "2013-05-25T04:00:00Z" }],
            "defaulted": ["distance"], "masked": [],
        })));
    }

    #[test]
    fn a_replay_says_whether_it_is_the_same_and_what_is_not() {
        let mut replay = json!({
            "id": "prd_1", "model": "late_flight", "version": 2, "at": "2013-06-01T04:00:00Z",
            "answered_at": "2026-12-01T12:00:00Z", "same_outputs": true, "same_features": true,
            "outputs": [{ "column": "late_probability", "logged": 0.25, "now": 0.25, "same": true }],
            "features": [{ "column": "hour", "logged": 9, "now": 9, "same": true }],
            "masked": [], "notes": [],
        });
        insta::assert_snapshot!("a_replay_that_is_the_same", replayed(&replay));
        replay["same_features"] = false.into();
        replay["features"][0] = json!({ "column": "hour", "logged": 9, "now": 10, "same": false });
        replay["masked"] = json!(["distance"]);
        insta::assert_snapshot!("a_replay_that_differs", replayed(&replay));
        replay["same_outputs"] = Value::Null;
        replay["same_features"] = Value::Null;
        let said = replayed(&replay);
        assert!(said.contains("can't be said") && said.contains("no feature could be compared"), "{said}");
    }
}
