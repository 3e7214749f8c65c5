//! Predictions beside what happened: which rows count, and the figures of a score or a class over them. Pure.
//!
//! A label that nobody knows and a prediction that the model refused say nothing about its quality.

use arrow::{
    array::{Array as _, ArrayRef, AsArray as _, Float64Array, RecordBatch},
    compute::cast,
    datatypes::{DataType, Float64Type},
};
use indexmap::IndexMap;
use tidemill_spec::{OutputType, probability_column, scored};

use crate::{Error, score};

/// What can be said of a model's predictions; none where it can't.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Figures {
    pub(crate) rows: usize,
    pub(crate) auc: Option<f64>,
    pub(crate) log_loss: Option<f64>,
    pub(crate) accuracy: Option<f64>,
    pub(crate) label_rate: Option<f64>,
    pub(crate) mean_prediction: Option<f64>,
}

/// Figures of the first output that is a float or a class, from the flat columns of the outputs.
pub(crate) fn figures(
    predicted: &RecordBatch,
    model: &str,
    outputs: &IndexMap<String, OutputType>,
    label: (&str, &ArrayRef),
) -> Result<Figures, Error> {
    let Some((name, ty)) = scored(outputs) else {
        return Err(Error::Metric(format!("model `{model}` has no float and no class output to score")));
    };
    if let OutputType::Class(classes) = ty {
        return of_class(predicted, name, classes, label);
    }
    let (scores, positive) = beside(&floats(predicted, name)?, truths(label)?);
    Ok(Figures {
        rows: scores.len(),
        auc: score::auc(&scores, &positive),
        log_loss: score::log_loss(&scores, &positive),
        label_rate: score::mean(positive.iter().map(|&truth| f64::from(u8::from(truth)))),
        mean_prediction: score::mean(scores.iter().copied()),
        accuracy: None,
    })
}

/// AUC of the first output that is a float or a class, from the flat columns of the outputs: of a class of two, how the
/// second's probability ranks. None where there is none, or the label doesn't fit.
pub fn auc(predicted: &RecordBatch, outputs: &IndexMap<String, OutputType>, label: &ArrayRef) -> Option<f64> {
    figures(predicted, "", outputs, ("", label)).ok()?.auc
}

fn of_class(
    predicted: &RecordBatch,
    name: &str,
    classes: &[String],
    label: (&str, &ArrayRef),
) -> Result<Figures, Error> {
    let said = column(predicted, name)?.as_string::<i32>();
    let probabilities = classes.iter().map(|class| floats(predicted, &probability_column(name, class)));
    let probabilities: Vec<Float64Array> = probabilities.collect::<Result<_, _>>()?;
    let truths = classes_of(label, name, classes)?;
    let known: Vec<(usize, usize)> = truths
        .into_iter()
        .enumerate()
        .filter_map(|(row, truth)| Some((row, truth.filter(|_| said.is_valid(row))?)))
        .collect();
    let right = |&(row, truth): &(usize, usize)| f64::from(u8::from(said.value(row) == classes[truth]));
    let auc = match probabilities.as_slice() {
        [_, second] => {
            let (scores, positive): (Vec<f64>, Vec<bool>) =
                known.iter().map(|&(row, truth)| (second.value(row), truth == 1)).unzip();
            score::auc(&scores, &positive)
        }
        _ => None,
    };
    Ok(Figures {
        rows: known.len(),
        auc,
        log_loss: score::log_loss_of(known.iter().map(|&(row, truth)| probabilities[truth].value(row))),
        accuracy: score::mean(known.iter().map(right)),
        ..Figures::default()
    })
}

/// Which class each label names.
fn classes_of(
    (label, column): (&str, &ArrayRef),
    output: &str,
    classes: &[String],
) -> Result<Vec<Option<usize>>, Error> {
    let ty = column.data_type();
    if !(ty.is_string() || ty.is_integer() || *ty == DataType::Boolean) {
        return Err(Error::Metric(format!("label `{label}` is {ty}, a class is text, an int or a bool")));
    }
    let words = cast(column, &DataType::Utf8)?;
    let place = |word: Option<&str>| {
        let Some(word) = word else { return Ok(None) };
        let place = classes.iter().position(|class| class == word);
        let unknown = || {
            let classes = classes.join(", ");
            Error::Metric(format!(
                "label `{label}` has `{word}`, which is not a class of `{output}`: {classes}"
            ))
        };
        place.map(Some).ok_or_else(unknown)
    };
    words.as_string::<i32>().iter().map(place).collect()
}

fn truths((label, column): (&str, &ArrayRef)) -> Result<Vec<Option<bool>>, Error> {
    let usable = matches!(column.data_type(), DataType::Boolean) || column.data_type().is_numeric();
    if !usable {
        return Err(Error::Metric(format!("label `{label}` is neither a bool nor a number")));
    }
    if !column.data_type().is_floating() {
        return Ok(cast(column, &DataType::Boolean)?.as_boolean().iter().collect());
    }
    // A NaN says neither yes nor no; a cast would make it a yes.
    let numbers = cast(column, &DataType::Float64)?;
    let known = |number: Option<f64>| number.filter(|number| number.is_finite()).map(|number| number != 0.0);
    Ok(numbers.as_primitive::<Float64Type>().iter().map(known).collect())
}

fn beside(scores: &Float64Array, truths: Vec<Option<bool>>) -> (Vec<f64>, Vec<bool>) {
    scores.iter().zip(truths).filter_map(|(score, truth)| Some((score?, truth?))).unzip()
}

fn floats(predicted: &RecordBatch, name: &str) -> Result<Float64Array, Error> {
    Ok(cast(column(predicted, name)?, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
}

fn column<'a>(predicted: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, Error> {
    let missing = || Error::Metric(format!("the predictions have no column `{name}`"));
    predicted.column_by_name(name).ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Int64Array, StringArray};
    use tidemill_spec::Type;

    use super::*;

    fn outputs(classes: &[&str]) -> IndexMap<String, OutputType> {
        let classes = classes.iter().map(|&class| class.to_owned()).collect();
        // A vector before it isn't scored.
        [("place".to_owned(), OutputType::Vector(1)), ("kind".to_owned(), OutputType::Class(classes))].into()
    }

    /// Probabilities by row, as flat columns.
    fn predicted(classes: &[&str], rows: &[&[f64]]) -> RecordBatch {
        let best =
            |row: &&[f64]| (1..row.len()).fold(0, |best, at| if row[at] > row[best] { at } else { best });
        let said = StringArray::from_iter_values(rows.iter().map(|row| classes[best(row)]));
        let mut columns = vec![("kind".to_owned(), Arc::new(said) as ArrayRef)];
        for (at, class) in classes.iter().enumerate() {
            let column = Float64Array::from_iter_values(rows.iter().map(|row| row[at]));
            columns.push((format!("kind_{class}"), Arc::new(column)));
        }
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn text(labels: &[Option<&str>]) -> ArrayRef {
        Arc::new(StringArray::from(labels.to_vec()))
    }

    fn close(a: Option<f64>, b: f64) {
        assert!((a.unwrap() - b).abs() < 1e-12, "{a:?} {b}");
    }

    #[test]
    fn a_class_has_accuracy_and_log_loss_over_known_labels() {
        let classes = ["a", "b", "c"];
        let rows: [&[f64]; 4] = [&[0.7, 0.2, 0.1], &[0.1, 0.3, 0.6], &[0.2, 0.5, 0.3], &[1.0, 0.0, 0.0]];
        let labels = text(&[Some("a"), Some("b"), Some("b"), None]);
        let figures =
            figures(&predicted(&classes, &rows), "m", &outputs(&classes), ("kind", &labels)).unwrap();
        assert_eq!((figures.rows, figures.auc, figures.label_rate), (3, None, None));
        close(figures.accuracy, 2.0 / 3.0);
        close(figures.log_loss, -(0.7_f64.ln() + 0.3_f64.ln() + 0.5_f64.ln()) / 3.0);
    }

    #[test]
    fn a_label_that_is_nan_says_nothing() {
        let label: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), Some(f64::NAN), None, Some(0.0)]));
        assert_eq!(truths(("late", &label)).unwrap(), [Some(true), None, None, Some(false)]);
    }

    #[test]
    fn two_classes_are_ranked_by_the_second_s_probability() {
        let classes = ["false", "true"];
        let rows: [&[f64]; 4] = [&[0.9, 0.1], &[0.6, 0.4], &[0.65, 0.35], &[0.2, 0.8]];
        let labels: ArrayRef = Arc::new(BooleanArray::from(vec![false, false, true, true]));
        let predicted = predicted(&classes, &rows);
        assert_eq!(auc(&predicted, &outputs(&classes), &labels), Some(0.75));
        // As the same probabilities score as a float.
        let float = [("kind_true".to_owned(), Type::Float.into())].into();
        let class = figures(&predicted, "m", &outputs(&classes), ("kind", &labels)).unwrap();
        let float = figures(&predicted, "m", &float, ("kind", &labels)).unwrap();
        assert_eq!(class.auc, float.auc);
        close(class.log_loss, float.log_loss.unwrap());
    }

    #[test]
    fn what_cannot_be_judged_is_told() {
        let (classes, rows): (_, [&[f64]; 1]) = (["a", "b"], [&[0.5, 0.5]]);
        let told = |outputs: &IndexMap<String, OutputType>, labels: ArrayRef| {
            figures(&predicted(&classes, &rows), "m", outputs, ("kind", &labels)).unwrap_err().to_string()
        };
        let unknown = told(&outputs(&classes), text(&[Some("x")]));
        assert_eq!(unknown, "label `kind` has `x`, which is not a class of `kind`: a, b");
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
        assert_eq!(
            told(&outputs(&classes), floats),
            "label `kind` is Float64, a class is text, an int or a bool"
        );
        let vector = [("place".to_owned(), OutputType::Vector(1))].into();
        assert_eq!(told(&vector, text(&[None])), "model `m` has no float and no class output to score");
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![7]));
        assert_eq!(
            told(&outputs(&classes), numbers),
            "label `kind` has `7`, which is not a class of `kind`: a, b"
        );
    }
}
