//! Predictions by entity id, over the serving role's REST twin of gRPC `Predict`.

use serde_json::{Map, Value, json};

use super::{Session, entity};
use crate::{
    args::PredictArgs,
    client::{Client, segment},
    failure::{Done, Failure},
    output::{self, figure, instant, plain},
};

/// Floats of a vector that people see; `-o json` has all.
const FLOATS_SHOWN: usize = 8;

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
        if request.insert(name.to_owned(), Value::from(value)).is_some() {
            return Err(entity::twice("--request", name));
        }
    }
    let mut body = json!({ "entities": [entity], "want_features": args.features });
    if !request.is_empty() {
        body["request"] = json!([columns(session, &args.model, request).await?]);
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

/// Request columns by name, typed as the model declares them.
async fn columns(session: &Session, model: &str, given: Map<String, Value>) -> Result<Value, Failure> {
    let query = [("request", Some(Value::Object(given).to_string()))];
    session.client.query(&format!("/v1/models/{}/request", segment(model)), &query).await
}

/// Values in one line; a class with its probabilities and a vector each in a line of its own.
fn outputs(outputs: &Value) -> Vec<String> {
    let named = outputs.as_object().into_iter().flatten();
    if named.clone().all(|(_, output)| !output.is_object() && !output.is_array()) {
        return vec![format!("  {outputs}")];
    }
    let told = |output: &Value| match (output.get("class"), output.as_array()) {
        (Some(class), _) => {
            let probabilities = output["probabilities"].as_object().into_iter().flatten();
            let each: Vec<String> =
                probabilities.map(|(class, value)| format!("{class} {}", figure(value))).collect();
            format!("{}  ({})", plain(class), each.join(", "))
        }
        (None, Some(values)) => {
            let more = values.len().saturating_sub(FLOATS_SHOWN);
            let mut floats: Vec<String> = values.iter().take(FLOATS_SHOWN).map(figure).collect();
            floats.extend((more > 0).then(|| format!("… {more} more")));
            format!("[{}]", floats.join(", "))
        }
        (None, None) => plain(output),
    };
    named.map(|(name, output)| format!("  {name:24} {}", told(output))).collect()
}

fn show(reply: &Value) -> String {
    let prediction = &reply["predictions"][0];
    let mut lines = vec![format!(
        "{} v{}  {}",
        plain(&reply["model"]),
        plain(&reply["version"]),
        plain(&prediction["prediction_id"])
    )];
    lines.extend(outputs(&prediction["outputs"]));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(outputs: &Value) -> String {
        let prediction =
            json!({ "prediction_id": "prd_1", "outputs": outputs, "views": [], "defaulted": [] });
        show(&json!({ "model": "m", "version": 3, "predictions": [prediction] }))
    }

    #[test]
    fn values_are_one_line_as_json() {
        insta::assert_snapshot!(check(&json!({ "late_probability": 0.25 })), @r#"
        m v3  prd_1
          {"late_probability":0.25}
        "#);
    }

    #[test]
    fn classes_and_vectors_have_a_line_each() {
        let probabilities = json!({ "setosa": 0.971_24, "versicolor": 0.028_5, "virginica": 0.000_26 });
        let place: Vec<f64> = (0..10).map(|number| f64::from(number) / 4.0).collect();
        insta::assert_snapshot!(check(&json!({
            "species": { "class": "setosa", "probabilities": probabilities }, "place": place, "petals": 5,
        })), @"
        m v3  prd_1
          species                  setosa  (setosa 0.9712, versicolor 0.0285, virginica 0.0003)
          place                    [0.0000, 0.2500, 0.5000, 0.7500, 1.0000, 1.2500, 1.5000, 1.7500, … 2 more]
          petals                   5
        ");
    }
}
