//! Why a request has no prediction: each cause with its code, and what gRPC and HTTP call it.

use tidemill_core::{Fault, RequestId};
use tidemill_online::Error as Online;
use tonic::Code;

/// A request without an answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such model is live.
    #[error("unknown model `{model}`{}", live(.known))]
    UnknownModel {
        /// As asked.
        model: String,
        /// Those that are.
        known: Vec<String>,
    },
    /// The model has no such version that is live.
    #[error("model `{model}` has no live version {version}{}", live(.known))]
    UnknownVersion {
        /// The model.
        model: String,
        /// As asked.
        version: u32,
        /// Those that are.
        known: Vec<String>,
    },
    /// The model has no such alias.
    #[error("model `{model}` has no alias `{alias}`{}", live(.known))]
    UnknownAlias {
        /// The model.
        model: String,
        /// As asked.
        alias: String,
        /// Those it has.
        known: Vec<String>,
    },
    /// A key or request column is missing, or one was given that the model doesn't take.
    #[error("entity {entity}: {problem}; `{model}` takes {takes}")]
    Columns {
        /// Which entity of the request, from 0.
        entity: usize,
        /// What is wrong.
        problem: String,
        /// The model.
        model: String,
        /// Names and types.
        takes: String,
    },
    /// A value of another type.
    #[error("entity {entity}: `{column}`: {problem}")]
    WrongType {
        /// Which entity of the request, from 0.
        entity: usize,
        /// The column.
        column: String,
        /// What was expected and what came.
        problem: String,
    },
    /// The request is not one.
    #[error("{0}")]
    Malformed(String),
    /// The request is no inference request: its tensors are not what the protocol, or the model, takes.
    #[error("{0}")]
    Tensors(String),
    /// No such path.
    #[error("there is no `{0}`")]
    NoSuchCall(String),
    /// The path is there, but not with this method.
    #[error("`{path}` takes {allowed}, not {method}")]
    WrongMethod {
        /// As asked.
        method: String,
        /// As asked.
        path: String,
        /// What it takes.
        allowed: &'static str,
    },
    /// A body of more bytes than are read.
    #[error("the body is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// The model declares `on_missing: fail`, and features have no value.
    #[error("entity {entity}: no value for {}", .columns.join(", "))]
    Missing {
        /// Which entity of the request, from 0.
        entity: usize,
        /// The columns without a value.
        columns: Vec<String>,
    },
    /// The version is live but not loaded.
    #[error("model `{model}` version {version} is not loaded{}", .reason.as_ref().map_or_else(|| " yet".to_owned(), |reason| format!(": {reason}")))]
    NotLoaded {
        /// The model.
        model: String,
        /// The version.
        version: u32,
        /// Why the last try failed.
        reason: Option<String>,
    },
    /// Nothing is known of any model yet.
    #[error("no live set has been read yet")]
    NoLiveSet,
    /// No such view has values online.
    #[error("view `{view}` is not declared, or has nothing online{}", live(.known))]
    UnknownView {
        /// As asked.
        view: String,
        /// Those that have.
        known: Vec<String>,
    },
    /// The view has no such feature online.
    #[error("view `{view}` has no feature `{feature}` online{}", live(.known))]
    UnknownFeature {
        /// The view.
        view: String,
        /// As asked.
        feature: String,
        /// Those it has.
        known: Vec<String>,
    },
    /// An entity lacks a key of a view that was asked for.
    #[error("entity {entity}: view `{view}` needs the key `{key}`")]
    MissingKey {
        /// Which entity of the request, from 0.
        entity: usize,
        /// The view.
        view: String,
        /// The key.
        key: String,
    },
    /// Redis did not answer.
    #[error("features could not be read")]
    Online(#[source] tidemill_online::Error),
    /// A view's values are not there to be read, or can't be computed from what is.
    #[error(transparent)]
    Values(tidemill_online::Error),
    /// What the model computes from the rest of the row can't be.
    #[error("on-demand features can't be computed")]
    OnDemand(#[source] tidemill_expressions::Error),
    /// What Redis holds of one entity can't be read.
    #[error("entity {entity}: features could not be read")]
    Unreadable {
        /// Which entity of the request, from 0.
        entity: usize,
        /// Which view's, and why.
        source: tidemill_online::Error,
    },
    /// The model did not answer.
    #[error(transparent)]
    Inference(#[from] tidemill_inference::Error),
    /// The model failed. What it raised is in the log; the caller gets its first words.
    #[error("model `{model}` version {version} failed: {summary} (request {request})")]
    Failed {
        /// The model.
        model: String,
        /// The version.
        version: u32,
        /// The cause's own code.
        code: Option<tidemill_core::Code>,
        /// The first words of what it raised, without paths of this machine.
        summary: String,
        /// What the log calls the request.
        request: RequestId,
    },
    /// The model's answer is not what it declares.
    #[error(
        "entity {entity}: model `{model}` version {version} gave {got} for `{output}` (request {request})"
    )]
    Unusable {
        /// The model.
        model: String,
        /// The version.
        version: u32,
        /// Which entity of the request, from 0.
        entity: usize,
        /// The output.
        output: String,
        /// What it gave.
        got: String,
        /// What the log calls the request.
        request: RequestId,
    },
}

impl Error {
    /// What a person is told.
    pub fn fault(&self) -> Fault {
        const BODY: &str = r#"POST /v1/models/MODEL:predict with {"entities": [{KEY: VALUE, …}]}"#;
        let (code, hint) = match self {
            Self::UnknownModel { .. } => (830, "tidemill models list"),
            Self::UnknownVersion { .. } => (
                831,
                "a version is live while an alias names it: tidemill models promote MODEL VERSION --alias NAME",
            ),
            Self::UnknownAlias { .. } => (831, "tidemill models show MODEL"),
            Self::Columns { .. } => (832, "give exactly these columns"),
            Self::WrongType { .. } => (
                833,
                "send the declared type; an int may be text of digits. `tidemill explain TM0833` lists what is accepted",
            ),
            Self::Malformed(_) | Self::NoSuchCall(_) | Self::WrongMethod { .. } => (834, BODY),
            Self::Tensors(_) => {
                (839, "GET /v2/models/MODEL lists its inputs and outputs; `tidemill explain TM0839`")
            }
            Self::TooLarge { .. } => (834, "send fewer entities in each request"),
            Self::Missing { .. } => {
                (835, "declare a `default` on the feature, or `on_missing: allow` on the model")
            }
            Self::NotLoaded { .. } | Self::NoLiveSet => (836, "try again; /readyz says what is missing"),
            Self::UnknownView { .. } | Self::UnknownFeature { .. } => (613, "tidemill features list"),
            Self::MissingKey { .. } => (616, "give each entity the key columns of every view that is read"),
            Self::Values(Online::NotOnline { .. }) => (837, "tidemill features list"),
            Self::Values(Online::Expressions { .. }) => {
                (840, "ask again; if it stays, look at the SQL of the view: tidemill features show VIEW")
            }
            Self::OnDemand(_) => (840, "ask again; if it stays, look at `on_demand` of the model"),
            Self::Online(_) | Self::Values(_) => (838, "tidemill status"),
            Self::Unreadable { .. } => {
                (838, "write the view's values again: tidemill features rebuild-online VIEW")
            }
            Self::Inference(error) => return error.fault(),
            Self::Failed { code, .. } => {
                return Fault { code: *code, ..Fault::from_error(self) }
                    .hint("the log of `serve` has the full error under this request id");
            }
            Self::Unusable { .. } => {
                (866, "a prediction must be a finite number; the log of `serve` has the request")
            }
        };
        Fault { code: Some(tidemill_core::Code(code)), ..Fault::from_error(self) }.hint(hint)
    }

    /// What gRPC calls it.
    pub fn grpc(&self) -> Code {
        use tidemill_inference::Error as Inference;
        match self {
            Self::UnknownModel { .. }
            | Self::UnknownVersion { .. }
            | Self::UnknownAlias { .. }
            | Self::UnknownView { .. }
            | Self::UnknownFeature { .. }
            | Self::NoSuchCall(_) => Code::NotFound,
            Self::Columns { .. }
            | Self::WrongType { .. }
            | Self::MissingKey { .. }
            | Self::Malformed(_)
            | Self::Tensors(_)
            | Self::WrongMethod { .. }
            | Self::Inference(Inference::Rows { .. }) => Code::InvalidArgument,
            Self::Missing { .. } => Code::FailedPrecondition,
            Self::NotLoaded { .. }
            | Self::NoLiveSet
            | Self::Online(_)
            | Self::Values(_)
            | Self::OnDemand(_)
            | Self::Unreadable { .. }
            | Self::Inference(Inference::Down { .. } | Inference::Closed) => Code::Unavailable,
            Self::TooLarge { .. } => Code::OutOfRange,
            Self::Inference(Inference::Overloaded { .. }) => Code::ResourceExhausted,
            Self::Inference(Inference::Deadline) => Code::DeadlineExceeded,
            Self::Inference(_) | Self::Failed { .. } | Self::Unusable { .. } => Code::Internal,
        }
    }

    /// What HTTP calls it.
    pub fn http(&self) -> u16 {
        if matches!(self, Self::WrongMethod { .. }) {
            return 405;
        }
        match self.grpc() {
            Code::OutOfRange => 413,
            Code::NotFound => 404,
            Code::InvalidArgument => 400,
            Code::FailedPrecondition => 422,
            Code::ResourceExhausted => 429,
            Code::Unavailable => 503,
            Code::DeadlineExceeded => 504,
            _ => 500,
        }
    }
}

impl From<Online> for Error {
    fn from(error: Online) -> Self {
        match error {
            Online::NotOnline { .. } | Online::ValuesLost { .. } | Online::Expressions { .. } => {
                Self::Values(error)
            }
            other => Self::Online(other),
        }
    }
}

fn live(known: &[String]) -> String {
    if known.is_empty() { String::new() } else { format!("; known: {}", known.join(", ")) }
}
