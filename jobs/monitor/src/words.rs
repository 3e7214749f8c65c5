//! Columns of files that say nothing of types: what their words are, told from all rows. Pure.
//!
//! A column is of the first kind that nineteen of twenty of its words are: numbers, dates, timestamps, truths; else it is
//! text. Where the other side has a type, that one counts. A word that isn't of the kind is a defect. What is empty is a
//! null; `nan` is a number, which figures count as null.

use std::sync::Arc;

use arrow::{
    array::{Array as _, ArrayRef, BooleanArray, Float64Array, StringArray},
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, TimeUnit},
};

use crate::counts::Scale;

/// Of twenty words, how many must be of a kind.
const OF_TWENTY: usize = 19;

/// What words may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Number,
    Date,
    Timestamp,
    Bool,
    Text,
}

impl Kind {
    /// The kind of words that stand for values of a type.
    pub(crate) fn of(ty: &DataType) -> Self {
        match (ty, Scale::of(ty)) {
            (DataType::Boolean, _) => Self::Bool,
            (_, Some(Scale::Number)) => Self::Number,
            (_, Some(Scale::Date)) => Self::Date,
            (_, Some(Scale::Timestamp)) => Self::Timestamp,
            _ => Self::Text,
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Number => "a number",
            Self::Date => "a date",
            Self::Timestamp => "a timestamp",
            Self::Bool => "true or false",
            Self::Text => "text",
        }
    }
}

/// A column's values, and the rows whose words are something else; these are null among the values.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    pub(crate) array: ArrayRef,
    pub(crate) wrong: Vec<usize>,
    /// What is wrong, in words; empty where nothing is.
    pub(crate) note: String,
}

/// What most of the words are; none where there is no word.
pub(crate) fn kind_of(words: &StringArray) -> Option<Kind> {
    let known = words.iter().filter(|word| !blank(*word)).count();
    let most = |kind: &Kind| 20 * (known - read(words, *kind).wrong.len()) >= OF_TWENTY * known;
    let kinds = [Kind::Number, Kind::Date, Kind::Timestamp, Kind::Bool];
    (known > 0).then(|| kinds.into_iter().find(most).unwrap_or(Kind::Text))
}

/// The words as values of a kind.
pub(crate) fn read(words: &StringArray, kind: Kind) -> Values {
    let trimmed = || words.iter().map(|word| word.map(str::trim).filter(|word| !word.is_empty()));
    let array: ArrayRef = match kind {
        Kind::Text => {
            return Values { array: Arc::new(words.clone()), wrong: Vec::new(), note: String::new() };
        }
        Kind::Number => Arc::new(trimmed().map(|word| number(word?)).collect::<Float64Array>()),
        Kind::Bool => Arc::new(trimmed().map(|word| truth(word?)).collect::<BooleanArray>()),
        // A moment is no date.
        Kind::Date => cast_words(
            &trimmed().map(|word| word.filter(|word| word.len() == 10)).collect(),
            &DataType::Date32,
        ),
        Kind::Timestamp => {
            cast_words(&trimmed().collect(), &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())))
        }
    };
    let wrong: Vec<usize> = (0..words.len())
        .filter(|row| array.is_null(*row) && !blank(words.is_valid(*row).then(|| words.value(*row))))
        .collect();
    let note = wrong.first().map(|row| format!("`{}` is not {}", short(words.value(*row)), kind.noun()));
    Values { array, wrong, note: note.unwrap_or_default() }
}

fn blank(word: Option<&str>) -> bool {
    word.is_none_or(|word| word.trim().is_empty())
}

/// Digits that are read as infinite are a number too great to hold.
fn number(word: &str) -> Option<f64> {
    let number: f64 = word.parse().ok()?;
    (!number.is_infinite() || !word.contains(|letter: char| letter.is_ascii_digit())).then_some(number)
}

fn truth(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "true" | "1" | "1.0" => Some(true),
        "false" | "0" | "0.0" => Some(false),
        _ => None,
    }
}

/// A word that can't be read is null.
fn cast_words(words: &StringArray, to: &DataType) -> ArrayRef {
    let safe = CastOptions { safe: true, ..CastOptions::default() };
    cast_with_options(words, to, &safe).unwrap_or_else(|_| arrow::array::new_null_array(to, words.len()))
}

fn short(word: &str) -> String {
    let letters: String = word.chars().take(40).collect();
    if letters.len() < word.len() { format!("{letters}…") } else { letters }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> StringArray {
        StringArray::from_iter(words.iter().map(|word| Some(*word)))
    }

    #[test]
    fn all_words_have_a_say_and_few_are_overruled() {
        let mut numbers = vec!["1"; 40];
        numbers.push("0.5");
        assert_eq!(kind_of(&words(&numbers)), Some(Kind::Number));
        numbers.push("abc");
        assert_eq!(kind_of(&words(&numbers)), Some(Kind::Number));
        assert_eq!(read(&words(&numbers), Kind::Number).wrong, [41]);
        numbers.extend(["abc"; 5]);
        assert_eq!(kind_of(&words(&numbers)), Some(Kind::Text));
        assert_eq!(kind_of(&words(&["2013-01-01", " 2013-02-01"])), Some(Kind::Date));
        assert_eq!(
            kind_of(&words(&["2013-01-01 00:00:00", "2013-01-01T00:00:00+02:00"])),
            Some(Kind::Timestamp)
        );
        assert_eq!(kind_of(&words(&["True", "false"])), Some(Kind::Bool));
        assert_eq!(kind_of(&words(&["", " "])), None);
    }

    #[test]
    fn numbers_are_read_exactly_and_what_is_too_great_is_none() {
        let values = read(&words(&["0.1", " 1e5 ", "-inf", "nan", "1e999", "", "12a"]), Kind::Number);
        let floats = values.array.as_any().downcast_ref::<Float64Array>().unwrap();
        assert_eq!((floats.value(0), floats.value(1), floats.value(2)), (0.1, 1e5, f64::NEG_INFINITY));
        assert!(floats.value(3).is_nan());
        assert_eq!(values.wrong, [4, 6]);
        assert_eq!(values.note, "`1e999` is not a number");
    }
}
