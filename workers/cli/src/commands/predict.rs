//! Predictions by entity id, over the serving role's REST twin of gRPC `Predict`.

use serde_json::{Map, Value, json};

use super::{Session, entity};
use crate::{
    args::PredictArgs,
    client::{Client, segment},
    failure::{Done, Failure},
    output::{self, instant, plain},
};

/// `tidemill predict`
pub(crate) async fn predict(session: &Session, args: PredictArgs) -> Done {
    let entity = keys(session, &args).await?;
    let mut request = Map::new();
    for given in &args.request {
        let Some((name, value)) = given.split_once('=') else {
            return Err(Failure::usage(
                format!("`--request {given}` has no `=`"),
                "write --request NAME=VALUE",
            ));
        };
        request.insert(name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| Value::from(value)));
    }
    let mut body = json!({ "entities": [entity], "want_features": args.features });
    if !request.is_empty() {
        body["request"] = json!([request]);
    }
    if let Some(version) = args.version {
        body["version"] = version.into();
    }
    if let Some(alias) = args.alias {
        body["alias"] = alias.into();
    }
    let serve = Client::new(&session.serve().await?, session.wait)?.verbose(session.verbose);
    let reply = serve.post(&format!("/v1/models/{}:predict", segment(&args.model)), &body).await?;
    Ok(output::object(session.format, &reply, "/predictions/0/prediction_id", show)?)
}

/// Keys by name, typed as the model's entity declares them.
async fn keys(session: &Session, args: &PredictArgs) -> Result<Value, Failure> {
    let query = [("entity", Some(entity::parse(&args.entity)?.to_string()))];
    session.client.query(&format!("/v1/models/{}/entity", segment(&args.model)), &query).await
}

fn show(reply: &Value) -> String {
    let prediction = &reply["predictions"][0];
    let mut lines = vec![
        format!(
            "{} v{}  {}",
            plain(&reply["model"]),
            plain(&reply["version"]),
            plain(&prediction["prediction_id"])
        ),
        format!("  {}", prediction["outputs"]),
    ];
    for view in prediction["views"].as_array().into_iter().flatten() {
        let name = plain(&view["view"]);
        lines.push(format!(
            "  {name:20} {:8} valid at {}",
            plain(&view["status"]),
            instant(&view["valid_at"])
        ));
    }
    let defaulted = plain(&prediction["defaulted"]);
    if !defaulted.is_empty() {
        lines.push(format!("  without a value: {defaulted}"));
    }
    for (name, value) in prediction["features"].as_object().into_iter().flatten() {
        lines.push(format!("  {name:24} {value}"));
    }
    lines.join("\n")
}
