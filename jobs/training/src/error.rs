//! What can go wrong with a training set, by what a caller may do about it.

use tidemill_core::{Fault, InvalidSchedule, JobError, RunId, Time};

/// Why a training set was not built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing of this kind and name is declared.
    #[error("there is no {kind} `{name}`")]
    Unknown {
        /// `label`, `model`, `view` or `feature`.
        kind: &'static str,
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The label and the model are asked of different entities.
    #[error("label `{label}` belongs to entity `{label_entity}`, but model `{model}` to `{model_entity}`")]
    OtherEntity {
        /// The label.
        label: String,
        /// Its entity.
        label_entity: String,
        /// The model.
        model: String,
        /// Its entity.
        model_entity: String,
    },
    /// A key of a view is neither a column of the labels nor a feature of another view.
    #[error(
        "key `{key}` of view `{view}` is neither a column of the labels nor a feature of a view in the inputs"
    )]
    UnresolvedKey {
        /// The view.
        view: String,
        /// The key.
        key: String,
    },
    /// Two inputs give a column of the same name.
    #[error("two columns of the dataset would be named `{0}`")]
    DoubleColumn(String),
    /// The same view or feature is asked for twice.
    #[error("`{0}` is named twice")]
    NamedTwice(String),
    /// A label whose answers are rows of its source is asked of other rows.
    #[error(
        "label `{label}` cannot be computed for rows of a file: each row of source `{source_name}` is an answer"
    )]
    NotAhead {
        /// The label.
        label: String,
        /// Its source.
        source_name: String,
    },
    /// The label rows lack a column.
    #[error("the labels have no column `{column}`")]
    MissingColumn {
        /// Which.
        column: String,
        /// What it is for.
        purpose: &'static str,
    },
    /// A row of labels lacks what only the caller knows.
    #[error("`{column}` is null in row {row} of the labels")]
    NullRequest {
        /// Which column of the request.
        column: String,
        /// Which row, from 1.
        row: usize,
    },
    /// The range holds no instant, or the holdout takes all of it.
    #[error("{0}")]
    EmptyRange(String),
    /// The holdout and the labels' own delay leave nothing to train on.
    #[error(
        "nothing is left to train on: the holdout begins at {from}, counted from the newest matured label ({newest}), and {}",
        before_it(*.before)
    )]
    EmptyPart {
        /// Event time of the newest matured label.
        newest: Time,
        /// First event time of the holdout.
        from: Time,
        /// Labels before it.
        before: usize,
    },
    /// No label has matured in the range.
    #[error("label `{label}` has no matured row in the range{}", of_asked(*.asked))]
    NoRows {
        /// The label.
        label: String,
        /// How many were asked by the clock, if that is known.
        asked: Option<i64>,
    },
    /// The ticks of a population can't be read.
    #[error("the moments at which the label is asked")]
    Schedule(#[from] InvalidSchedule),
    /// The views did not reach the lake's head in time.
    #[error("{} did not catch up with the lake in time", .0.join(", "))]
    Behind(Vec<String>),
    /// A view is behind, and the update that it waits for has failed for good.
    #[error("view `{view}` is behind, and its update failed: {}", fault.message)]
    UpdateFailed {
        /// The view.
        view: String,
        /// The run of its update.
        run: RunId,
        /// Why it failed.
        fault: Box<Fault>,
    },
    /// The catalog could not be read or written.
    #[error("catalog")]
    Catalog(#[from] tidemill_catalog::Error),
    /// The engine could not be read or written.
    #[error("engine")]
    Store(#[from] tidemill_store::Error),
    /// The lake could not be read.
    #[error("lake")]
    Lake(#[from] tidemill_offline::Error),
    /// The files could not be written.
    #[error("object store")]
    Blobs(#[from] tidemill_blobs::Error),
    /// Rows could not be written as Parquet.
    #[error("rows")]
    Rows(#[from] tidemill_rows::Error),
    /// Columns could not be converted.
    #[error("columns")]
    Arrow(#[from] arrow::error::ArrowError),
}

fn before_it(labels: usize) -> String {
    if labels == 0 {
        "there is no label before it".to_owned()
    } else {
        format!("of the labels before it {labels} mature inside it")
    }
}

fn of_asked(asked: Option<i64>) -> String {
    match asked {
        None => String::new(),
        Some(0) => ": its population is empty".to_owned(),
        Some(asked) => format!(": {asked} were asked"),
    }
}

impl Error {
    /// What a person is told.
    pub fn fault(&self) -> Fault {
        let message = self.to_string();
        match self {
            Self::Unknown { known, .. } if known.is_empty() => {
                Fault::coded(810, message).hint("tidemill apply")
            }
            Self::Unknown { known, .. } => {
                Fault::coded(810, message).hint(format!("there are: {}", known.join(", ")))
            }
            Self::OtherEntity { .. } => {
                Fault::coded(811, message).hint("name a label and a model of the same entity")
            }
            Self::UnresolvedKey { .. } => Fault::coded(812, message)
                .hint("add the view that has it to the inputs, or the column to the labels"),
            Self::DoubleColumn(_) => {
                Fault::coded(813, message).hint("name a model whose inputs choose the features")
            }
            Self::NamedTwice(_) => Fault::coded(813, message).hint("name each view or feature once"),
            Self::NotAhead { .. } => Fault::coded(819, message)
                .hint("name a label with `aggregates` over windows; for this one use a step `dataset.build`"),
            Self::MissingColumn { purpose, .. } => {
                Fault::coded(814, message).hint(format!("the column is {purpose}"))
            }
            Self::NullRequest { column, .. } => Fault::coded(609, message).hint(format!(
                "declare it in `request` of the model: `{column}: {{ type: …, nullable: true }}`, or leave such rows out"
            )),
            Self::EmptyRange(_) => Fault::coded(815, message).hint("check `from`, `to` and `holdout`"),
            Self::EmptyPart { .. } => {
                Fault::coded(815, message).hint("choose an earlier `from`, or a shorter `holdout`")
            }
            Self::NoRows { asked: Some(0), .. } => Fault::coded(816, message).hint(
                "check `from` and `to`, and that the view or the source of the population has rows by then",
            ),
            Self::NoRows { .. } => Fault::coded(816, message)
                .hint("labels mature on the data clock; see what it shows: tidemill clock show"),
            Self::Behind(_) => Fault::coded(817, message).hint("tidemill features list"),
            Self::UpdateFailed { run, fault, .. } => Fault {
                detail: fault.detail.clone(),
                ..Fault::coded(818, message)
                    .hint(format!("see why: tidemill logs {run}; when that is fixed: tidemill retry {run}"))
            },
            Self::Lake(error) => error.fault(),
            _ => Fault::from_error(self),
        }
    }
}

/// What was asked wrongly stays wrong; servers may come back.
impl From<Error> for JobError {
    fn from(error: Error) -> Self {
        match error {
            Error::Catalog(error) => error.into(),
            Error::Store(error) => error.into(),
            Error::Lake(error) => error.into(),
            Error::Blobs(error) => error.into(),
            Error::Behind(_) => Self::Retry(error.fault()),
            _ => Self::Discard(error.fault()),
        }
    }
}
