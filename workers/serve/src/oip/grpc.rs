//! The protocol over gRPC: converts to and from the wire, nothing else.

use std::{collections::HashMap, sync::Arc};

use serde_json::{Map, Value as Json, json};
use tidemill_proto::{
    Deadline,
    inference::{
        InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse, ModelMetadataRequest,
        ModelMetadataResponse, ModelReadyRequest, ModelReadyResponse, ServerLiveRequest, ServerLiveResponse,
        ServerMetadataRequest, ServerMetadataResponse, ServerReadyRequest, ServerReadyResponse,
        grpc_inference_service_server::GrpcInferenceService, infer_parameter::ParameterChoice,
        model_infer_request::InferInputTensor, model_infer_response::InferOutputTensor,
        model_metadata_response::TensorMetadata,
    },
};
use tonic::{Request, Response, Status};

use super::{
    Infer, Settings, binary, infer,
    metadata::{EXTENSIONS, Metadata, SERVER, Tensor, VERSION, metadata, readiness},
    tensor::{Datatype, Elements, Given, Head, Told, number, text},
};
use crate::{Error, grpc::status, predict::Predictor};

/// Answers `inference.GRPCInferenceService`.
#[derive(Clone, Debug)]
pub(crate) struct Door(pub(crate) Arc<Predictor>);

#[tonic::async_trait]
impl GrpcInferenceService for Door {
    async fn server_live(
        &self,
        _: Request<ServerLiveRequest>,
    ) -> Result<Response<ServerLiveResponse>, Status> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(
        &self,
        _: Request<ServerReadyRequest>,
    ) -> Result<Response<ServerReadyResponse>, Status> {
        Ok(Response::new(ServerReadyResponse { ready: self.0.readiness().ready }))
    }

    async fn model_ready(
        &self,
        request: Request<ModelReadyRequest>,
    ) -> Result<Response<ModelReadyResponse>, Status> {
        let ModelReadyRequest { name, version } = request.into_inner();
        let reason = readiness(&self.0, &name, &version).map_err(|error| status(&error))?;
        Ok(Response::new(ModelReadyResponse { ready: reason.is_none() }))
    }

    async fn server_metadata(
        &self,
        _: Request<ServerMetadataRequest>,
    ) -> Result<Response<ServerMetadataResponse>, Status> {
        Ok(Response::new(ServerMetadataResponse {
            name: SERVER.to_owned(),
            version: VERSION.to_owned(),
            extensions: EXTENSIONS.map(str::to_owned).to_vec(),
        }))
    }

    async fn model_metadata(
        &self,
        request: Request<ModelMetadataRequest>,
    ) -> Result<Response<ModelMetadataResponse>, Status> {
        let ModelMetadataRequest { name, version } = request.into_inner();
        let metadata = metadata(&self.0, &name, &version).map_err(|error| status(&error))?;
        Ok(Response::new(told_metadata(metadata)))
    }

    async fn model_infer(
        &self,
        request: Request<ModelInferRequest>,
    ) -> Result<Response<ModelInferResponse>, Status> {
        let deadline = request.extensions().get::<Deadline>().map(|deadline| deadline.0);
        let request = request.into_inner();
        let (id, raw) = (request.id.clone(), !request.raw_input_contents.is_empty());
        let asked = asked(request).map(|asked| Infer { deadline, ..asked });
        let answer = match asked {
            Ok(asked) => infer(&self.0, asked).await,
            Err(error) => Err(error),
        };
        let answer = answer.map_err(|error| status(&error))?;
        let raws = if raw { answer.outputs.iter().map(Told::raw).collect() } else { Vec::new() };
        Ok(Response::new(ModelInferResponse {
            model_name: answer.model,
            model_version: answer.version.to_string(),
            id,
            outputs: answer.outputs.into_iter().map(|told| output(told, raw)).collect(),
            raw_output_contents: raws,
            ..ModelInferResponse::default()
        }))
    }
}

fn asked(request: ModelInferRequest) -> Result<Infer, Error> {
    let ModelInferRequest {
        model_name, model_version, parameters, inputs, outputs, raw_input_contents, ..
    } = request;
    let raw = !raw_input_contents.is_empty();
    if raw && raw_input_contents.len() != inputs.len() {
        let (raws, inputs) = (raw_input_contents.len(), inputs.len());
        return Err(Error::Tensors(format!("{inputs} inputs, but {raws} in `raw_input_contents`")));
    }
    let mut raws = raw_input_contents.into_iter();
    let inputs = inputs.into_iter().map(|input| given(input, raws.next()).map_err(Error::Tensors));
    let inputs = inputs.collect::<Result<_, _>>()?;
    let outputs = outputs.into_iter().map(|output| {
        binary(&output.name, &told_parameters(output.parameters), raw)?;
        Ok(output.name)
    });
    let outputs = outputs.collect::<Result<_, Error>>()?;
    Ok(Infer {
        model: model_name,
        version: model_version,
        settings: Settings::read(&told_parameters(parameters))?,
        inputs,
        outputs,
        deadline: None,
    })
}

fn told_parameters(parameters: HashMap<String, InferParameter>) -> Map<String, Json> {
    let json = |parameter: InferParameter| match parameter.parameter_choice {
        Some(ParameterChoice::BoolParam(truth)) => truth.into(),
        Some(ParameterChoice::Int64Param(number)) => number.into(),
        Some(ParameterChoice::Uint64Param(number)) => number.into(),
        Some(ParameterChoice::DoubleParam(number)) => number.into(),
        Some(ParameterChoice::StringParam(text)) => text.into(),
        None => Json::Null,
    };
    parameters.into_iter().map(|(name, parameter)| (name, json(parameter))).collect()
}

fn given(input: InferInputTensor, raw: Option<Vec<u8>>) -> Result<Given, String> {
    let head = Head::read(&input.name, &input.datatype, &input.shape)?;
    match (raw, input.contents) {
        (Some(bytes), None) => head.raw(&bytes),
        (Some(_), Some(_)) => {
            Err(format!("input `{}` has `contents`, though there are `raw_input_contents`", input.name))
        }
        (None, contents) => {
            let values = elements(head.datatype(), contents.unwrap_or_default())
                .map_err(|problem| format!("input `{}`: {problem}", input.name))?;
            head.with(values)
        }
    }
}

/// The elements in the field of a datatype; another field has none of it.
fn elements(datatype: Datatype, contents: InferTensorContents) -> Result<Vec<Json>, String> {
    match datatype {
        Datatype::Bool => Ok(contents.bool_contents.into_iter().map(Json::from).collect()),
        Datatype::Int8 | Datatype::Int16 | Datatype::Int32 => {
            Ok(contents.int_contents.into_iter().map(Json::from).collect())
        }
        Datatype::Int64 => Ok(contents.int64_contents.into_iter().map(Json::from).collect()),
        Datatype::Uint8 | Datatype::Uint16 | Datatype::Uint32 => {
            Ok(contents.uint_contents.into_iter().map(Json::from).collect())
        }
        Datatype::Uint64 => Ok(contents.uint64_contents.into_iter().map(Json::from).collect()),
        Datatype::Fp16 => Err("FP16 has no `contents`; give `raw_input_contents`".to_owned()),
        Datatype::Fp32 => contents.fp32_contents.into_iter().map(|float| number(float.into())).collect(),
        Datatype::Fp64 => contents.fp64_contents.into_iter().map(number).collect(),
        Datatype::Bytes => contents.bytes_contents.iter().map(|bytes| text(bytes)).collect(),
    }
}

fn output(told: Told, raw: bool) -> InferOutputTensor {
    let (datatype, shape) = (told.datatype().to_owned(), told.shape());
    let contents = (!raw).then(|| {
        let mut contents = InferTensorContents::default();
        match told.elements {
            Elements::Bool(values) => contents.bool_contents = values,
            Elements::Int(values) => contents.int64_contents = values,
            Elements::Float(values) => contents.fp64_contents = values,
            Elements::Text(values) => {
                contents.bytes_contents = values.into_iter().map(String::into_bytes).collect();
            }
        }
        contents
    });
    InferOutputTensor { name: told.name, datatype, shape, contents, ..InferOutputTensor::default() }
}

fn told_metadata(metadata: Metadata) -> ModelMetadataResponse {
    let tensor = |Tensor { name, datatype, shape }: Tensor| TensorMetadata {
        name,
        datatype: datatype.to_owned(),
        shape,
    };
    let vector: Vec<Json> = metadata.vector.iter().map(Tensor::json).collect();
    let lists = [("vector".to_owned(), json!(vector)), ("optional".to_owned(), json!(metadata.optional))];
    let classes = metadata.classes.into_iter().map(|(name, classes)| (format!("classes.{name}"), classes));
    ModelMetadataResponse {
        name: metadata.name,
        versions: metadata.versions,
        platform: metadata.platform,
        inputs: metadata.inputs.into_iter().map(tensor).collect(),
        outputs: metadata.outputs.into_iter().map(tensor).collect(),
        properties: lists.into_iter().chain(classes).map(|(name, list)| (name, list.to_string())).collect(),
    }
}
