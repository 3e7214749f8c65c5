//! The gRPC door: converts to and from the wire, nothing else.

use std::sync::Arc;

use prost_types::Timestamp;
use tidemill_core::{Fault, Time};
use tidemill_inference::{Output, Outputs};
use tidemill_online::ViewFeatures;
use tidemill_proto::{
    Deadline, Reason,
    features::v1::{
        EntityFeatures, GetOnlineFeaturesRequest, GetOnlineFeaturesResponse, Unread, ViewValues,
        feature_service_server::FeatureService,
    },
    json::{from_struct, to_struct},
    serving::v1::{
        Class, Failure, Output as WireOutput, PredictRequest, PredictResponse, Prediction as WirePrediction,
        Vector, ViewAge, output, predict_request, prediction_service_server::PredictionService,
    },
};
use tidemill_spec::Value;
use tonic::{Request, Response, Status};

use crate::{
    Error,
    ask::{Ask, Prediction},
    features::FeaturesAsk,
    predict::Predictor,
    warm::Which,
};

/// Answers `PredictionService` and `FeatureService`. A caller's `grpc-timeout` ends the request, and with it its place in the queue.
#[derive(Clone, Debug)]
pub(crate) struct Door(pub(crate) Arc<Predictor>);

#[tonic::async_trait]
impl PredictionService for Door {
    async fn predict(&self, request: Request<PredictRequest>) -> Result<Response<PredictResponse>, Status> {
        let deadline = request.extensions().get::<Deadline>().map(|deadline| deadline.0);
        let ask = Ask { deadline, ..ask(request.into_inner()) };
        let answer = self.0.predict(ask).await.map_err(|error| status(&error))?;
        let predictions = answer.predictions.into_iter().map(|one| prediction(one, answer.now));
        Ok(Response::new(PredictResponse {
            model: answer.model,
            version: answer.version,
            predictions: predictions.collect(),
        }))
    }
}

#[tonic::async_trait]
impl FeatureService for Door {
    async fn get_online_features(
        &self,
        request: Request<GetOnlineFeaturesRequest>,
    ) -> Result<Response<GetOnlineFeaturesResponse>, Status> {
        let deadline = request.extensions().get::<Deadline>().map(|deadline| deadline.0);
        let GetOnlineFeaturesRequest { features, entities } = request.into_inner();
        let entities = entities.into_iter().map(from_struct).collect();
        let answer = self.0.features(FeaturesAsk { features, entities, deadline }).await;
        let answer = answer.map_err(|error| status(&error))?;
        let entities = answer.entities.into_iter().map(entity).collect();
        Ok(Response::new(GetOnlineFeaturesResponse { entities }))
    }
}

fn entity(found: Result<Vec<ViewFeatures>, Error>) -> EntityFeatures {
    match found {
        Ok(views) => EntityFeatures { views: views.into_iter().map(view_values).collect(), error: None },
        Err(error) => {
            let Failure { code, message, hint } = failure(&error);
            EntityFeatures { views: Vec::new(), error: Some(Unread { code, message, hint }) }
        }
    }
}

fn view_values(found: ViewFeatures) -> ViewValues {
    ViewValues {
        valid_at: found.valid_at.map(timestamp),
        view: found.view,
        version: found.version,
        values: Some(to_struct(found.values.into_iter().map(|(name, value)| (name, value.to_json())))),
        status: found.status.as_str().to_owned(),
        defaulted: found.defaulted,
    }
}

fn ask(request: PredictRequest) -> Ask {
    let which = match request.which {
        Some(predict_request::Which::Version(version)) => Which::Version(version),
        Some(predict_request::Which::Alias(alias)) => Which::Alias(alias),
        None => Which::Champion,
    };
    Ask {
        model: request.model,
        which,
        entities: request.entities.into_iter().map(from_struct).collect(),
        request: request.request.into_iter().map(from_struct).collect(),
        want_features: request.want_features,
        deadline: None,
    }
}

fn prediction(one: Prediction, now: Time) -> WirePrediction {
    let (outputs, error) = match one.outputs {
        Ok(outputs) => (outputs, None),
        Err(error) => (Outputs::new(), Some(failure(&error))),
    };
    WirePrediction {
        prediction_id: one.id.to_string(),
        version: one.version,
        outputs: error
            .is_none()
            .then(|| to_struct(outputs.iter().map(|(name, output)| (name.clone(), output.to_json())))),
        typed_outputs: outputs.into_iter().map(|(name, output)| (name, typed(output))).collect(),
        error,
        views: one.hydrated.views.iter().map(|view| age(view, now)).collect(),
        defaulted: one.hydrated.defaulted,
        features: one
            .features
            .map(|row| to_struct(row.into_iter().map(|(name, value)| (name, value.to_json())))),
    }
}

/// Why one entity has no outputs.
fn failure(error: &Error) -> Failure {
    let Fault { code, message, hint, .. } = error.fault();
    let code = code.map_or_else(String::new, |code| code.to_string());
    Failure { code, message, hint: hint.unwrap_or_default() }
}

fn typed(output: Output) -> WireOutput {
    use output::Value as Wire;
    let value = match output {
        Output::Scalar(Value::Null) => None,
        Output::Scalar(Value::Float(number)) => Some(Wire::FloatValue(number)),
        Output::Scalar(Value::Int(number)) => Some(Wire::IntValue(number)),
        Output::Scalar(Value::Bool(truth)) => Some(Wire::BoolValue(truth)),
        Output::Scalar(Value::String(text)) => Some(Wire::StringValue(text)),
        // What has no word of its own here is text, as in JSON.
        Output::Scalar(
            other @ (Value::Date(_) | Value::Timestamp(_) | Value::Decimal(_) | Value::List(_)),
        ) => Some(Wire::StringValue(other.to_string())),
        Output::Class { label, probabilities } => {
            Some(Wire::ClassValue(Class { label, probabilities: probabilities.into_iter().collect() }))
        }
        Output::Vector(values) => Some(Wire::VectorValue(Vector { values })),
    };
    WireOutput { value }
}

fn age(view: &ViewFeatures, now: Time) -> ViewAge {
    ViewAge {
        view: view.view.clone(),
        version: view.version,
        valid_at: view.valid_at.map(timestamp),
        age_seconds: view.age_seconds(now),
        status: view.status.as_str().to_owned(),
    }
}

fn timestamp(time: Time) -> Timestamp {
    Timestamp {
        seconds: time.timestamp(),
        nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or_default(),
    }
}

/// A failed call.
pub(crate) fn status(error: &Error) -> Status {
    let Fault { code, message, detail, hint } = error.fault();
    let code = code.map_or_else(String::new, |code| code.to_string());
    Reason { code, message, detail, hint }.status(error.grpc())
}
