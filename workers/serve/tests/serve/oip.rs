//! The Open Inference Protocol, over both transports, and by clients that others wrote.

use std::{collections::HashMap, path::Path, process::Command};

use serde_json::{Value as Json, json};
use tidemill_proto::{
    Reason,
    inference::{
        InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse, ModelMetadataRequest,
        ModelReadyRequest, ServerReadyRequest,
        grpc_inference_service_client::GrpcInferenceServiceClient,
        infer_parameter::ParameterChoice,
        model_infer_request::{InferInputTensor, InferRequestedOutputTensor},
    },
};
use tidemill_spec::{Hydration, Type};
use tonic::{Code, transport::Channel};

use crate::{entities, with_model, world, world::World};

async fn client(world: &World) -> GrpcInferenceServiceClient<Channel> {
    GrpcInferenceServiceClient::new(world.channel().await)
}

fn input(name: &str, datatype: &str, contents: InferTensorContents) -> InferInputTensor {
    InferInputTensor {
        name: name.to_owned(),
        datatype: datatype.to_owned(),
        shape: vec![1],
        contents: Some(contents),
        ..InferInputTensor::default()
    }
}

fn text(value: &str) -> InferTensorContents {
    InferTensorContents { bytes_contents: vec![value.into()], ..InferTensorContents::default() }
}

fn float(value: f64) -> InferTensorContents {
    InferTensorContents { fp64_contents: vec![value], ..InferTensorContents::default() }
}

fn int(value: i64) -> InferTensorContents {
    InferTensorContents { int64_contents: vec![value], ..InferTensorContents::default() }
}

fn asked(inputs: Vec<InferInputTensor>) -> ModelInferRequest {
    ModelInferRequest { model_name: "late".to_owned(), inputs, ..ModelInferRequest::default() }
}

fn united() -> Vec<InferInputTensor> {
    vec![input("carrier", "BYTES", text("UA")), input("flight", "INT64", int(1))]
}

fn probability(reply: &ModelInferResponse) -> f64 {
    reply.outputs[0].contents.as_ref().unwrap().fp64_contents[0]
}

async fn post(world: &World, path: &str, body: &Json) -> (u16, Json) {
    let reply = world.client.post(format!("{}{path}", world.http)).json(body).send().await.unwrap();
    (reply.status().as_u16(), reply.json().await.unwrap())
}

async fn get(world: &World, path: &str) -> (u16, Json) {
    let reply = world.client.get(format!("{}{path}", world.http)).send().await.unwrap();
    (reply.status().as_u16(), reply.json().await.unwrap())
}

#[tokio::test]
async fn entities_are_hydrated_and_a_vector_is_taken_as_it_is() {
    let world = with_model(&["lightgbm"]).await;
    let (_, ours) = world.rest("late", json!({"entities": entities()})).await;
    let ours = ours["predictions"][0]["outputs"]["late_probability"].as_f64().unwrap();
    let mut client = client(&world).await;

    let hydrated = client.model_infer(asked(united())).await.unwrap().into_inner();
    assert_eq!((hydrated.model_version.as_str(), hydrated.outputs[0].shape.as_slice()), ("1", &[1_i64][..]));
    assert_eq!(probability(&hydrated).to_bits(), ours.to_bits());

    // The vector that was hydrated, given by hand and in another order.
    let vector = vec![
        input("distance", "FP64", float(250.0)),
        input("hour", "INT64", int(9)),
        input("carrier", "BYTES", text("UA")),
    ];
    let given = client.model_infer(asked(vector.clone())).await.unwrap().into_inner();
    assert_eq!(probability(&given).to_bits(), ours.to_bits());

    // Another hour is another prediction: Redis isn't asked.
    let mut evening = vector.clone();
    evening[1] = input("hour", "INT32", InferTensorContents { int_contents: vec![20], ..Default::default() });
    let evening = client.model_infer(asked(evening)).await.unwrap().into_inner();
    assert_ne!(probability(&evening).to_bits(), ours.to_bits());

    // NaN is a missing value: as of an entity that nothing is known of.
    let unknown = vec![input("carrier", "BYTES", text("ZZ")), input("flight", "INT64", int(7))];
    let unknown = client.model_infer(asked(unknown)).await.unwrap().into_inner();
    let missing = vec![
        input("carrier", "BYTES", text("ZZ")),
        input("hour", "FP64", float(f64::NAN)),
        input("distance", "FP64", float(f64::NAN)),
    ];
    let missing = client.model_infer(asked(missing)).await.unwrap().into_inner();
    assert_eq!(probability(&missing).to_bits(), probability(&unknown).to_bits());
    world.stop().await;
}

#[tokio::test]
async fn raw_contents_come_back_raw_and_the_prediction_id_when_it_is_wanted() {
    let world = with_model(&["lightgbm"]).await;
    let mut request = asked(united());
    for input in &mut request.inputs {
        input.contents = None;
        input.shape = vec![2, 1];
    }
    request.raw_input_contents = vec![
        b"\x02\0\0\0UA\x02\0\0\0ZZ".to_vec(),
        [1_i64, 7].iter().flat_map(|it| it.to_le_bytes()).collect(),
    ];
    request.id = "seven".to_owned();
    request.outputs = ["prediction_id", "late_probability"]
        .map(|name| InferRequestedOutputTensor { name: name.to_owned(), ..Default::default() })
        .to_vec();
    let reply = client(&world).await.model_infer(request).await.unwrap().into_inner();
    let told: Vec<(&str, &[i64])> =
        reply.outputs.iter().map(|output| (output.name.as_str(), output.shape.as_slice())).collect();
    assert_eq!(
        (reply.id.as_str(), told),
        ("seven", vec![("prediction_id", &[2][..]), ("late_probability", &[2])])
    );
    assert_eq!(reply.raw_output_contents[1].len(), 16);
    assert!(reply.raw_output_contents[0][4..].starts_with(b"prd_"));
    assert!(reply.outputs.iter().all(|output| output.contents.is_none()));
    world.stop().await;
}

#[tokio::test]
async fn what_a_model_takes_and_gives_is_listed() {
    let mut world = world().await;
    world.add("iris", 1, &["flower"]).await;
    let measures = ["sepal_length", "sepal_width", "petal_length", "petal_width"];
    world.change("iris", 1, |version| {
        version.request = measures.map(|name| (name.to_owned(), Type::Float)).into();
        version.nullable = Some(vec!["petal_width".to_owned()]);
        version.outputs = serde_json::from_value(json!({
            "species": {"type": "class", "classes": ["setosa", "versicolor", "virginica"]},
            "size": "string",
            "place": {"type": "vector", "size": 2},
        }))
        .unwrap();
        version.hydration = Hydration::default();
    });
    world.promote("iris", 1).await;
    world.ready().await;

    let (status, told) = get(&world, "/v2/models/iris").await;
    assert_eq!(status, 200, "{told}");
    let floats = measures.map(|name| json!({"name": name, "datatype": "FP64", "shape": [-1]}));
    let mut inputs = vec![
        json!({"name": "carrier", "datatype": "BYTES", "shape": [-1]}),
        json!({"name": "flight", "datatype": "INT64", "shape": [-1]}),
    ];
    inputs.extend(floats.clone());
    assert_eq!((&told["inputs"], &told["versions"]), (&json!(inputs), &json!(["1"])));
    let outputs = json!([
        {"name": "species", "datatype": "BYTES", "shape": [-1]},
        {"name": "species_probabilities", "datatype": "FP64", "shape": [-1, 3]},
        {"name": "size", "datatype": "BYTES", "shape": [-1]},
        {"name": "place", "datatype": "FP64", "shape": [-1, 2]},
    ]);
    assert_eq!(told["outputs"], outputs);
    let classes = json!({"species": ["setosa", "versicolor", "virginica"]});
    let properties = json!({"vector": floats, "optional": ["petal_width"], "classes": classes});
    assert_eq!(told["properties"], properties);

    let mut client = client(&world).await;
    let request = ModelMetadataRequest { name: "iris".to_owned(), version: "1".to_owned() };
    let wire = client.model_metadata(request).await.unwrap().into_inner();
    let names: Vec<&str> = wire.outputs.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(names, ["species", "species_probabilities", "size", "place"]);
    assert_eq!(wire.properties["classes.species"], r#"["setosa","versicolor","virginica"]"#);

    // Every output has the shape that is listed.
    let data = |value: f64| json!({"datatype": "FP32", "shape": [2, 1], "data": [[value], [value]]});
    let named = |name: &str, mut tensor: Json| {
        tensor["name"] = name.into();
        tensor
    };
    let inputs: Vec<Json> =
        measures.iter().zip([5.1, 3.5, 1.4, 0.2]).map(|(name, value)| named(name, data(value))).collect();
    let (status, reply) =
        post(&world, "/v2/models/iris/versions/1/infer", &json!({"id": "a", "inputs": inputs})).await;
    assert_eq!(status, 200, "{reply}");
    let shapes: Vec<&Json> =
        reply["outputs"].as_array().unwrap().iter().map(|output| &output["shape"]).collect();
    assert_eq!(shapes, [&json!([2]), &json!([2, 3]), &json!([2]), &json!([2, 2])]);
    assert_eq!((&reply["outputs"][0]["data"], &reply["id"]), (&json!(["setosa", "setosa"]), &json!("a")));
    world.stop().await;
}

#[tokio::test]
async fn readiness_is_told_of_the_server_and_of_each_version() {
    let world = with_model(&["constant", "0.5"]).await;
    let mut client = client(&world).await;
    assert!(client.server_ready(ServerReadyRequest {}).await.unwrap().into_inner().ready);
    let ready = |version: &str| ModelReadyRequest { name: "late".to_owned(), version: version.to_owned() };
    assert!(client.model_ready(ready("")).await.unwrap().into_inner().ready);
    assert!(client.model_ready(ready("1")).await.unwrap().into_inner().ready);
    let error = client.model_ready(ready("9")).await.unwrap_err();
    assert_eq!((error.code(), Reason::of(&error).unwrap().code.as_str()), (Code::NotFound, "TM0831"));
    assert_eq!(get(&world, "/v2/health/ready").await, (200, json!({"ready": true})));
    assert_eq!(get(&world, "/v2/models/late/versions/1/ready").await.0, 200);
    assert_eq!(get(&world, "/v2/models/late/versions/9/ready").await.0, 404);
    let (status, told) = get(&world, "/v2/models/early").await;
    assert_eq!((status, &told["code"]), (404, &json!("TM0830")));
    assert!(told["error"].as_str().unwrap().starts_with("[TM0830] unknown model `early`"), "{told}");
    world.stop().await;
}

#[tokio::test]
async fn each_mistake_in_tensors_is_told() {
    let world = with_model(&["constant", "0.5"]).await;
    let tensor = |name: &str, datatype: &str, shape: Json, data: Json| json!({"name": name, "datatype": datatype, "shape": shape, "data": data});
    let carrier = || tensor("carrier", "BYTES", json!([1]), json!(["UA"]));
    let flight = || tensor("flight", "INT64", json!([1]), json!([1]));
    let takes = "`late` takes its entities (carrier, flight) or its whole vector (carrier, hour, distance)";
    let cases = [
        (json!({"inputs": []}), "TM0839", "`inputs` is empty; give one tensor for each column".to_owned()),
        (json!({"inputs": [carrier()]}), "TM0839", format!("{takes}; the inputs are carrier")),
        (
            json!({"inputs": [carrier(), flight()], "parameters": {"hydrate": false}}),
            "TM0839",
            "`late` takes its whole vector: carrier, hour, distance; the inputs are carrier, flight"
                .to_owned(),
        ),
        (
            json!({"inputs": [carrier(), tensor("flight", "INT64", json!([2]), json!([1, 2]))]}),
            "TM0839",
            "input `carrier` has 1 rows, but `flight` has 2".to_owned(),
        ),
        (
            json!({"inputs": [carrier(), carrier(), flight()]}),
            "TM0839",
            "input `carrier` is there twice".to_owned(),
        ),
        (
            json!({"inputs": [carrier(), tensor("flight", "INT64", json!([2]), json!([1]))]}),
            "TM0839",
            "input `flight`: shape [2] is 2 elements, but there are 1".to_owned(),
        ),
        (
            json!({"inputs": [carrier(), tensor("flight", "FP64", json!([1]), json!([1.5]))]}),
            "TM0833",
            "entity 0: `flight`: expected int, got 1.5".to_owned(),
        ),
        (
            json!({"inputs": [carrier(), {"name": "flight", "datatype": "INT64", "shape": [1]}]}),
            "TM0839",
            "input `flight` has neither `data` nor `binary_data_size`".to_owned(),
        ),
        (
            json!({"inputs": [
                carrier(),
                tensor("hour", "INT64", json!([1, 2]), json!([[9, 10]])),
                tensor("distance", "FP64", json!([1]), json!([250.0])),
            ]}),
            "TM0839",
            "input `hour` has shape [1, 2]; a column of one value a row is [1] or [1, 1]".to_owned(),
        ),
        (
            json!({"inputs": [carrier(), flight()], "outputs": [{"name": "score"}]}),
            "TM0839",
            "there is no output `score`; there are late_probability".to_owned(),
        ),
        (
            json!({"inputs": [carrier(), flight()], "parameters": {"alias": "x"}}),
            "TM0831",
            "model `late` has no alias `x`; known: champion".to_owned(),
        ),
        (
            json!({"inputs": [carrier(), flight()], "priority": 1}),
            "TM0839",
            "unknown field `priority`".to_owned(),
        ),
    ];
    for (body, code, message) in cases {
        let (status, reply) = post(&world, "/v2/models/late/infer", &body).await;
        assert!(matches!(status, 400 | 404), "{status} {reply}");
        assert_eq!(reply["code"], code, "{body}: {reply}");
        assert!(reply["error"].as_str().unwrap().starts_with(&format!("[{code}] {message}")), "{reply}");
        assert!(reply["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{reply}");
    }
    let parameter = InferParameter { parameter_choice: Some(ParameterChoice::BoolParam(true)) };
    let mut request = asked(united());
    request.parameters = HashMap::from([("sequence_start".to_owned(), parameter.clone())]);
    let error = client(&world).await.model_infer(request).await.unwrap_err();
    assert_eq!((error.code(), Reason::of(&error).unwrap().code.as_str()), (Code::InvalidArgument, "TM0839"));
    let mut request = asked(united());
    let parameters = HashMap::from([("classification".to_owned(), parameter)]);
    request.outputs = vec![InferRequestedOutputTensor { name: "late_probability".to_owned(), parameters }];
    let error = client(&world).await.model_infer(request).await.unwrap_err();
    assert!(error.message().contains("parameter `classification` with true is not understood"), "{error}");
    assert_eq!((error.code(), Reason::of(&error).unwrap().code.as_str()), (Code::InvalidArgument, "TM0839"));
    world.stop().await;
}

#[tokio::test]
async fn the_openapi_document_has_every_path_and_each_live_model() {
    let world = with_model(&["constant", "0.5"]).await;
    let (status, document) = get(&world, "/openapi.json").await;
    assert_eq!((status, &document["openapi"]), (200, &json!("3.1.0")));
    let own = &document["paths"]["/v1/models/late:predict"]["post"];
    let body = &own["requestBody"]["content"]["application/json"]["schema"];
    let entity = &body["properties"]["entities"]["items"];
    assert_eq!(entity["required"], json!(["carrier", "flight"]));
    assert_eq!(entity["properties"]["flight"], json!({"type": "integer", "format": "int64"}));
    assert!(body["properties"]["request"].is_null(), "the model has no request columns");
    // Each path is served, by the method that is written.
    for (path, methods) in document["paths"].as_object().unwrap() {
        let url = format!("{}{}", world.http, path.replace("{model}", "late").replace("{version}", "1"));
        let (read, posted) = (methods.get("get").is_some(), methods.get("post").is_some());
        let call = if read { world.client.get(&url) } else { world.client.post(&url).json(&json!({})) };
        let reply = call.send().await.unwrap();
        let told = (reply.status().as_u16(), read, posted);
        assert!(matches!(told, (200, true, false) | (400, false, true)), "{path}: {told:?}");
    }
    world.stop().await;
}

/// Triton's own client, over HTTP with and without binary tensors, and over gRPC.
#[tokio::test]
async fn triton_s_client_gets_the_prediction_that_predict_gives() {
    let world = with_model(&["lightgbm"]).await;
    let (_, ours) = world.rest("late", json!({"entities": entities()})).await;
    let ours = ours["predictions"][0]["outputs"]["late_probability"].as_f64().unwrap();
    let python = std::env::var_os("TIDEMILL_CLIENTS_PYTHON")
        .map_or_else(|| std::env::home_dir().unwrap().join(".cache/tidemill/clients/bin/python"), Into::into);
    assert!(python.exists(), "{} is made by scripts/setup", python.display());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/serve/triton.py");
    let (http, grpc) = (world.http.replace("http://", ""), world.grpc.replace("http://", ""));
    let run = move || {
        let mut command = Command::new(python);
        command.env_remove("PYTHONPATH").arg(script).args([http, grpc, format!("{ours:?}")]).output().unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let told =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("14 checks passed"), "{told}");
    world.stop().await;
}
