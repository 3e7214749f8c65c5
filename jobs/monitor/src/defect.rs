//! What isn't as it should be in a column, counted and with its first row. Pure.
//!
//! A defect never ends a report: figures are told of the rest, and the defect stands beside them.

use std::fmt;

use arrow::{
    array::{ArrayRef, AsArray as _},
    compute::cast,
    datatypes::{DataType, Float64Type},
};
use serde::{Deserialize, Serialize};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DefectKind {
    /// The reference has the column, the other side has not.
    Missing,
    /// The reference has no such column.
    New,
    /// The two sides are of different kinds.
    OtherKind,
    /// Neither an order nor text, such as a list.
    Uncountable,
    /// Values that aren't of the column's type.
    WrongType,
    /// Infinite values.
    Infinite,
    /// NaN, which figures count as null.
    Nan,
}

/// Which side it was found on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// What is compared with.
    Reference,
    /// The window, or the file that is compared.
    Current,
}

/// One defect of a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Defect {
    /// What is wrong.
    pub kind: DefectKind,
    /// Where.
    pub side: Side,
    /// How many rows of it; all of them where the whole column can't be compared.
    pub rows: u64,
    /// The first of them, from 1.
    pub first_row: Option<u64>,
    /// What is there, in words.
    pub note: String,
}

impl DefectKind {
    /// Whether nothing at all can be told of the column.
    pub fn is_whole(self) -> bool {
        matches!(self, Self::Missing | Self::New | Self::OtherKind | Self::Uncountable)
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.note)?;
        match self.first_row.filter(|_| !self.kind.is_whole()) {
            Some(row) if self.rows > 1 => write!(f, " in {} rows, the first is row {row}", self.rows),
            Some(row) => write!(f, " in row {row}"),
            None => Ok(()),
        }
    }
}

/// Infinities and NaN of a column of floats.
pub(crate) fn of_floats(column: &ArrayRef, side: Side) -> Vec<Defect> {
    if !matches!(column.data_type(), DataType::Float16 | DataType::Float32 | DataType::Float64) {
        return Vec::new();
    }
    let Ok(floats) = cast(column, &DataType::Float64) else { return Vec::new() };
    let floats = floats.as_primitive::<Float64Type>();
    let found = |kind, note: &str, is: fn(f64) -> bool| {
        let mut rows =
            (0_u64..).zip(floats).filter(|(_, value)| value.is_some_and(is)).map(|(row, _)| row + 1);
        let first_row = rows.next();
        first_row.map(|_| Defect {
            kind,
            side,
            rows: 1 + rows.count() as u64,
            first_row,
            note: note.to_owned(),
        })
    };
    let infinite = found(DefectKind::Infinite, "infinite", f64::is_infinite);
    infinite.into_iter().chain(found(DefectKind::Nan, "NaN", f64::is_nan)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Float64Array;

    use super::*;

    #[test]
    fn what_is_not_finite_is_counted_with_its_first_row() {
        let column: ArrayRef = Arc::new(Float64Array::from(vec![
            Some(1.0),
            None,
            Some(f64::NEG_INFINITY),
            Some(f64::NAN),
            Some(f64::INFINITY),
        ]));
        let told: Vec<String> = of_floats(&column, Side::Current).iter().map(Defect::to_string).collect();
        assert_eq!(told, ["infinite in 2 rows, the first is row 3", "NaN in row 4"]);
        let whole: ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![1]));
        assert!(of_floats(&whole, Side::Current).is_empty());
    }
}
