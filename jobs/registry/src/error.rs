//! What can go wrong with a model version, by what a caller may do about it.

use tidemill_core::{Cause, Fault, JobError};

/// Why a version was not registered, scored or promoted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No model of this name is declared.
    #[error("there is no model `{name}`")]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The model has no such version.
    #[error("model `{model}` has no version {version}")]
    UnknownVersion {
        /// The model.
        model: String,
        /// What was asked for.
        version: i32,
    },
    /// The alias names no version.
    #[error("model `{model}` has no alias `{alias}`")]
    UnknownAlias {
        /// The model.
        model: String,
        /// What was asked for.
        alias: String,
    },
    /// The alias was never moved, or was rolled back already.
    #[error("alias `{alias}` of model `{model}` has no version to return to")]
    NothingToRollBack {
        /// The model.
        model: String,
        /// The alias.
        alias: String,
    },
    /// A view that the version reads is not there any more.
    #[error("there is no view `{view}` in the version that the model reads")]
    UnknownView {
        /// The view.
        view: String,
    },
    /// No log has such a prediction.
    #[error("prediction {prediction} is not in the log")]
    NotLogged {
        /// What was asked for.
        prediction: String,
    },
    /// The prediction failed: there is nothing to predict again.
    #[error("prediction {prediction} has no answer: it failed with {code}")]
    NoAnswer {
        /// The prediction.
        prediction: String,
        /// Why it failed.
        code: String,
    },
    /// Another version is on its way to the alias.
    #[error("version {candidate} is on its way to {alias} of model `{model}`")]
    RolloutUnderWay {
        /// The model.
        model: String,
        /// The alias.
        alias: String,
        /// The version on trial.
        candidate: i32,
    },
    /// A rollout that can't begin.
    #[error("no rollout: {reason}")]
    NoRollout {
        /// Why.
        reason: String,
    },
    /// Serving could not answer with the version.
    #[error("model `{model}` version {version} can't be served: {reason}; the alias stays where it is")]
    NotServable {
        /// The model.
        model: String,
        /// The version.
        version: i32,
        /// Why.
        reason: String,
    },
    /// The artifact isn't what the model declares.
    #[error("artifact doesn't fit model `{model}`: {mismatch}")]
    Mismatch {
        /// The model.
        model: String,
        /// What differs.
        mismatch: String,
    },
    /// Features may have no value, and the model fails where they have none.
    #[error("model `{model}` fails where {} is null, and an unknown entity has no value for it", .columns.join(" or "))]
    FailsOnNulls {
        /// The model.
        model: String,
        /// The columns, in the signature's order.
        columns: Vec<String>,
    },
    /// The place is none that a folder is kept at.
    #[error("`{artifact}` is not an artifact that a step produced")]
    NoArtifact {
        /// What was given.
        artifact: String,
        /// What steps of the same run left.
        known: Vec<String>,
    },
    /// There is no such model file, or it can't be read.
    #[error("{0}")]
    NoFile(String),
    /// A model file was given without rows to prove it with, and there are none of the model's.
    #[error("there are no rows to prove a file of model `{model}` with")]
    NoRows {
        /// The model.
        model: String,
    },
    /// A model file can't be made a model folder.
    #[error("`{file}` can't be registered: {source}")]
    Unwrapped {
        /// Its name.
        file: String,
        /// Why.
        source: tidemill_pyrun::PyError,
    },
    /// The model's files can't be used: loading them, or predicting their golden rows, raised, died or took too long.
    #[error("the model in `{artifact}` can't be used: {source}")]
    Unusable {
        /// The artifact.
        artifact: String,
        /// What happened.
        source: tidemill_pyrun::PyError,
    },
    /// A metric that isn't known, or can't be computed for this model or these rows.
    #[error("{0}")]
    Metric(String),
    /// The model did not load, or did not answer.
    #[error(transparent)]
    Inference(#[from] tidemill_inference::Error),
    /// The catalog could not be read or written.
    #[error("catalog")]
    Catalog(#[from] tidemill_catalog::Error),
    /// The engine could not be read or written.
    #[error("engine")]
    Store(#[from] tidemill_store::Error),
    /// The artifact or dataset could not be fetched.
    #[error("object store")]
    Blobs(#[from] tidemill_blobs::Error),
    /// The lake could not be read or written.
    #[error("lake")]
    Lake(#[from] tidemill_offline::Error),
    /// The live set could not be read or published.
    #[error("live set")]
    Live(#[from] tidemill_live::Error),
    /// A dataset could not be read.
    #[error("dataset")]
    Rows(#[from] tidemill_rows::Error),
    /// Columns could not be converted.
    #[error("columns")]
    Arrow(#[from] arrow::error::ArrowError),
    /// The local disk.
    #[error("local disk")]
    Io(#[from] std::io::Error),
}

impl Error {
    /// What a person is told.
    pub fn fault(&self) -> Fault {
        match self {
            Self::UnknownModel { known, .. } => {
                Fault::coded(801, self.to_string()).hint(format!("models: {}", known.join(", ")))
            }
            Self::UnknownVersion { .. } | Self::UnknownAlias { .. } => {
                Fault::coded(802, self.to_string()).hint("tidemill models list")
            }
            Self::UnknownView { .. } => Fault::coded(602, self.to_string()).hint("tidemill features list"),
            Self::NotLogged { .. } => Fault::coded(880, self.to_string()).hint(
                "it is there some seconds after the answer, unless the model logs a sample or nothing: tidemill explain TM0880",
            ),
            Self::NoAnswer { .. } => {
                Fault::coded(881, self.to_string()).hint("tidemill predictions show ID says what was asked")
            }
            Self::NothingToRollBack { .. } => Fault::coded(803, self.to_string())
                .hint("to remove the alias: tidemill models rollback MODEL --remove"),
            Self::RolloutUnderWay { model, alias, candidate } => Fault::coded(882, self.to_string()).hint(format!(
                "end it first: tidemill models rollback {model} --alias {alias}, or tidemill models promote {model} {candidate} --alias {alias}"
            )),
            Self::NoRollout { .. } => Fault::coded(883, self.to_string()).hint("tidemill explain TM0883"),
            Self::NotServable { .. } => Fault::coded(865, self.to_string())
                .hint("train a new version: it reads the views as they are declared now"),
            Self::Mismatch { .. } => {
                Fault::coded(804, self.to_string()).hint("train on a dataset built from the model's inputs")
            }
            Self::FailsOnNulls { .. } => Fault::coded(870, self.to_string()).hint(
                "declare `on_missing: fail` on the model, so that only such rows are refused; or a `default` on each of the features; or train a model that takes nulls",
            ),
            Self::NoArtifact { known, .. } => {
                let known = match known.as_slice() {
                    [] => "no step of this run has produced one".to_owned(),
                    known => format!("steps of this run produced {}", known.join(", ")),
                };
                Fault::coded(860, self.to_string())
                    .hint(format!("write `artifact: ${{{{ steps.NAME.outputs.artifact }}}}`; {known}"))
            }
            Self::NoFile(_) => Fault::coded(807, self.to_string()).hint(
                "the worker looks on its own machine, and for s3:// with the AWS_… variables of its environment; a file of \
                 yours is uploaded by: tidemill models register MODEL --file FILE",
            ),
            Self::NoRows { model } => Fault::coded(808, self.to_string()).hint(format!(
                "give rows that it was trained on: --sample rows.csv, or build a dataset with `inputs: {model}` first"
            )),
            Self::Unwrapped { source, .. } => {
                let fault = Fault::coded(806, self.to_string()).hint("tidemill explain TM0806 says what each kind of file needs");
                match source.fault().detail {
                    Some(detail) => fault.detail(detail),
                    None => fault,
                }
            }
            Self::Unusable { source, .. } => {
                let fault = Fault::coded(861, self.to_string()).hint(unusable_hint(source));
                match source.fault().detail {
                    Some(detail) => fault.detail(detail),
                    None => fault,
                }
            }
            Self::Metric(_) => Fault::coded(805, self.to_string()),
            Self::Inference(error) => error.fault(),
            _ => Fault::from_error(self),
        }
    }
}

/// No Python could be started, the socket failed, or somebody killed the process: the model had no part in it.
fn passing(error: &tidemill_pyrun::PyError) -> bool {
    use tidemill_pyrun::PyError as E;
    match error {
        E::Start { .. } | E::Io(_) | E::Stopped(_) => true,
        E::Died { status, .. } => status.starts_with("signal 9"),
        _ => false,
    }
}

fn unusable_hint(error: &tidemill_pyrun::PyError) -> &'static str {
    use tidemill_pyrun::PyError as E;
    match error {
        E::Time { .. } => {
            "a model must load and predict its golden rows within that time: train a smaller one"
        }
        E::Memory { .. } => "a model may use at most 2 GiB: train a smaller one",
        _ => {
            "check that tidemill.models.predictors.load(FOLDER) works with the workers' libraries, \
              then train again"
        }
    }
}

/// What is declared or written wrongly stays so; servers and disks may come back.
impl From<Error> for JobError {
    fn from(error: Error) -> Self {
        use tidemill_inference::Error as Inference;
        match error {
            Error::Catalog(error) => error.into(),
            Error::Store(error) => error.into(),
            Error::Blobs(error) => error.into(),
            Error::Lake(error) => error.into(),
            Error::Io(ref source) => Cause::of_io(source).verdict(error.fault()),
            Error::Live(error) => error.into(),
            // What a model does, it does again.
            Error::Inference(Inference::Python(error))
            | Error::Unusable { source: error, .. }
            | Error::Unwrapped { source: error, .. }
                if passing(&error) =>
            {
                error.into()
            }
            Error::Inference(
                Inference::Folder { .. }
                | Inference::Golden { .. }
                | Inference::Rows { .. }
                | Inference::Python(_),
            )
            | Error::NoArtifact { .. }
            | Error::NoFile(_)
            | Error::NoRows { .. }
            | Error::Unwrapped { .. }
            | Error::Unusable { .. }
            | Error::UnknownModel { .. }
            | Error::UnknownVersion { .. }
            | Error::UnknownAlias { .. }
            | Error::UnknownView { .. }
            | Error::NotLogged { .. }
            | Error::NoAnswer { .. }
            | Error::NothingToRollBack { .. }
            | Error::RolloutUnderWay { .. }
            | Error::NoRollout { .. }
            | Error::NotServable { .. }
            | Error::Mismatch { .. }
            | Error::FailsOnNulls { .. }
            | Error::Metric(_) => Self::Discard(error.fault()),
            _ => Self::Retry(error.fault()),
        }
    }
}
