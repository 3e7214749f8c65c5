//! What `check` knows of each step without running it: its arguments and its outputs.

use crate::ObjectKind;

/// What an argument holds once its expressions are resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arg {
    /// Name of an object.
    Object(ObjectKind),
    /// A model's name, or a list of views.
    Inputs,
    /// Any text.
    Text,
    /// A file that rows are written to.
    File,
    /// A query over the lake.
    Query,
    /// SQL conditions over a row of the step's `table`.
    Conditions,
    /// An instant.
    Time,
    /// `14d`.
    Duration,
    /// `label` or an instant.
    KnownAt,
    /// A whole number from 1.
    Version,
    /// A share, 0 to 1.
    Share,
    /// `module:function`.
    Entry,
    /// A map of anything.
    Map,
    /// One of some words.
    Choice(&'static [&'static str]),
    /// `source/NAME` or `view/NAME`, and what else has rows.
    Table,
}

/// One kind of step.
#[derive(Debug)]
pub(crate) struct StepKind {
    pub name: &'static str,
    /// Name, content, whether it must be there.
    pub args: &'static [(&'static str, Arg, bool)],
    pub outputs: &'static [&'static str],
    /// Whether a user's function may return more.
    pub open: bool,
}

/// Steps of later versions.
pub(crate) const LATER: [&str; 4] = ["model.canary", "approve", "pipeline", "model.rollback"];

/// Every kind of step there is.
pub(crate) const STEPS: [StepKind; 12] = [
    StepKind {
        name: "dataset.build",
        args: &[
            ("label", Arg::Object(ObjectKind::Label), true),
            ("inputs", Arg::Inputs, true),
            ("from", Arg::Time, true),
            ("to", Arg::Time, true),
            ("holdout", Arg::Duration, false),
            ("known_at", Arg::KnownAt, false),
        ],
        outputs: &["dataset", "holdout", "rows", "holdout_rows"],
        open: false,
    },
    StepKind {
        name: "python",
        args: &[("entry", Arg::Entry, true), ("dataset", Arg::Text, false), ("params", Arg::Map, false)],
        outputs: &["artifact"],
        open: true,
    },
    StepKind {
        name: "model.register",
        args: &[
            ("model", Arg::Object(ObjectKind::Model), true),
            ("artifact", Arg::Text, false),
            ("file", Arg::Text, false),
            ("sample", Arg::Text, false),
        ],
        outputs: &["version"],
        open: false,
    },
    StepKind {
        name: "model.compare",
        args: &[
            ("model", Arg::Object(ObjectKind::Model), false),
            ("candidate", Arg::Version, true),
            ("against", Arg::Text, true),
            ("dataset", Arg::Text, true),
            ("metric", Arg::Choice(&["auc", "log_loss", "accuracy"]), true),
        ],
        outputs: &["delta", "candidate", "against"],
        open: false,
    },
    StepKind {
        name: "model.promote",
        args: &[
            ("model", Arg::Object(ObjectKind::Model), true),
            ("version", Arg::Version, true),
            ("alias", Arg::Text, true),
        ],
        outputs: &["version"],
        open: false,
    },
    StepKind {
        name: "model.evaluate",
        args: &[
            ("model", Arg::Object(ObjectKind::Model), true),
            ("version", Arg::Version, false),
            ("alias", Arg::Text, false),
            ("dataset", Arg::Text, true),
        ],
        outputs: &["auc", "log_loss", "accuracy", "rows", "label_rate", "mean_prediction", "version"],
        open: false,
    },
    StepKind {
        name: "model.predict_batch",
        args: &[
            ("model", Arg::Object(ObjectKind::Model), true),
            ("version", Arg::Version, false),
            ("alias", Arg::Text, false),
            ("dataset", Arg::Text, true),
        ],
        outputs: &["rows"],
        open: false,
    },
    StepKind {
        name: "ingest",
        args: &[("source", Arg::Object(ObjectKind::Source), true), ("path", Arg::Text, true)],
        outputs: &["rows", "dead_letters"],
        open: false,
    },
    StepKind {
        name: "export",
        args: &[("table", Arg::Table, true), ("path", Arg::File, true)],
        outputs: &["rows"],
        open: false,
    },
    StepKind {
        name: "sql",
        args: &[("query", Arg::Query, true), ("path", Arg::File, false)],
        outputs: &["rows", "first"],
        open: false,
    },
    StepKind {
        name: "quality.check",
        args: &[
            ("table", Arg::Table, true),
            ("conditions", Arg::Conditions, true),
            ("tolerance", Arg::Share, false),
        ],
        outputs: &["rows", "failed"],
        open: false,
    },
    StepKind {
        name: "features.backfill",
        args: &[("view", Arg::Object(ObjectKind::View), true)],
        outputs: &["version"],
        open: false,
    },
];

/// The kind of a step by its name.
pub(crate) fn step_kind(uses: &str) -> Option<&'static StepKind> {
    STEPS.iter().find(|kind| kind.name == uses)
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::{Map, Value as Json, json};

    use super::*;
    use crate::steps;

    fn sample(arg: Arg) -> Json {
        match arg {
            Arg::Object(_) | Arg::Inputs | Arg::Text | Arg::File | Arg::Query | Arg::Table => json!("x"),
            Arg::Entry => json!("m:f"),
            Arg::Conditions => json!(["x"]),
            Arg::Time | Arg::KnownAt => json!("2013-06-01T00:00:00Z"),
            Arg::Duration => json!("14d"),
            Arg::Version => json!(1),
            Arg::Share => json!(0.5),
            Arg::Map => json!({}),
            Arg::Choice(words) => json!(words[0]),
        }
    }

    fn reads<T: DeserializeOwned>(kind: &StepKind) {
        let args = |all: bool| -> Json {
            let wanted = kind.args.iter().filter(|(_, _, needed)| all || *needed);
            Json::Object(
                wanted.map(|(name, arg, _)| ((*name).to_owned(), sample(*arg))).collect::<Map<_, _>>(),
            )
        };
        for json in [args(true), args(false)] {
            serde_json::from_value::<T>(json).unwrap_or_else(|error| panic!("{}: {error}", kind.name));
        }
        for (name, _, needed) in kind.args.iter().filter(|(_, _, needed)| *needed) {
            let mut json = args(true);
            json.as_object_mut().unwrap().remove(*name);
            assert!(serde_json::from_value::<T>(json).is_err(), "{}: {name} {needed}", kind.name);
        }
    }

    #[test]
    fn every_step_takes_what_check_lets_through() {
        for kind in &STEPS {
            match kind.name {
                "dataset.build" => reads::<steps::DatasetBuild>(kind),
                "python" => reads::<steps::Python>(kind),
                "model.register" => reads::<steps::ModelRegister>(kind),
                "model.compare" => reads::<steps::ModelCompare>(kind),
                "model.promote" => reads::<steps::ModelPromote>(kind),
                "model.evaluate" => reads::<steps::ModelEvaluate>(kind),
                "model.predict_batch" => reads::<steps::PredictBatch>(kind),
                "ingest" => reads::<steps::Ingest>(kind),
                "export" => reads::<steps::Export>(kind),
                "sql" => reads::<steps::Sql>(kind),
                "quality.check" => reads::<steps::QualityCheck>(kind),
                "features.backfill" => reads::<steps::FeaturesBackfill>(kind),
                other => panic!("{other} has no args"),
            }
        }
    }

    #[test]
    fn the_reference_names_every_step_with_its_arguments_and_outputs() {
        let reference = include_str!("../../../../docs/reference/yaml.md");
        for kind in &STEPS {
            let begin = format!("| `{}` |", kind.name);
            let row = reference.lines().rfind(|line| line.starts_with(&begin));
            let row = row.unwrap_or_else(|| panic!("no row of {}", kind.name));
            for (name, _, needed) in kind.args {
                let said = row.contains(&format!("`{name}`")) || row.contains(&format!("`{name}: "));
                assert!(said, "{}: `{name}` is not in {row}", kind.name);
                assert_eq!(!needed, row.contains(&format!("`{name}`?")), "{}: `{name}`", kind.name);
            }
            for output in kind.outputs {
                assert!(row.contains(&format!("`{output}`")), "{}: `{output}` is not in {row}", kind.name);
            }
        }
    }
}
