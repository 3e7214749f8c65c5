//! One column on both sides: its figures and its histogram. Pure.

use arrow::array::{ArrayRef, RecordBatch};
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    counts::{Bins, Counts, share},
    measure,
};

/// How one column of a window compares with its reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnReport {
    /// The column.
    pub column: String,
    /// `number` or `category`, as the reference has it.
    pub kind: String,
    /// Population stability index; none where a side is empty, as all figures.
    pub psi: Option<f64>,
    /// Jensen-Shannon distance, base 2.
    pub js: Option<f64>,
    /// Kolmogorov-Smirnov statistic at the bins' edges; none for categories.
    pub ks: Option<f64>,
    /// Hellinger distance.
    pub hellinger: Option<f64>,
    /// Share of nulls in the reference.
    pub null_rate_reference: Option<f64>,
    /// Share of nulls in the window.
    pub null_rate_current: Option<f64>,
    /// Share of the window's rows whose category the reference never had; none for numbers.
    pub unseen_rate: Option<f64>,
    /// Rows of the reference.
    pub rows_reference: u64,
    /// Rows of the window.
    pub rows_current: u64,
    /// The histogram, bin by bin; nulls last, where there are any.
    pub bins: Vec<Bin>,
}

/// One bar of both histograms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bin {
    /// What lies in it.
    pub label: String,
    /// Rows of the reference.
    pub reference: u64,
    /// Rows of the window.
    pub current: u64,
}

/// Compares one column; the bins are the reference's.
///
/// # Errors
/// A side lacks the column, or its type can't be counted.
pub fn compare_column(
    reference: &RecordBatch,
    current: &RecordBatch,
    column: &str,
) -> Result<ColumnReport, Error> {
    let bins = Bins::freeze(named(reference, column)?)?;
    let (before, now) = (bins.count(named(reference, column)?)?, bins.count(named(current, column)?)?);
    Ok(report(column, &bins, &before, &now))
}

fn report(column: &str, bins: &Bins, before: &Counts, now: &Counts) -> ColumnReport {
    let (p, q) = measure::aligned(before, now);
    let (ks, unseen) = match bins {
        Bins::Numbers(_) => (measure::ks(&before.bins, &now.bins), None),
        Bins::Categories(values) => (None, share(now.bins[values.len()], now.rows())),
    };
    let labels = bins.labels().into_iter().chain(["null".to_owned()]);
    let bars = labels.zip(p.iter().zip(&q));
    ColumnReport {
        column: column.to_owned(),
        kind: bins.kind().to_owned(),
        psi: measure::psi(&p, &q),
        js: measure::js(&p, &q),
        ks,
        hellinger: measure::hellinger(&p, &q),
        null_rate_reference: before.null_rate(),
        null_rate_current: now.null_rate(),
        unseen_rate: unseen,
        rows_reference: before.rows(),
        rows_current: now.rows(),
        bins: bars.map(|(label, (&reference, &current))| Bin { label, reference, current }).collect(),
    }
}

/// A column by name.
pub(crate) fn named<'a>(rows: &'a RecordBatch, column: &str) -> Result<&'a ArrayRef, Error> {
    rows.column_by_name(column).ok_or_else(|| Error::MissingColumn {
        column: column.to_owned(),
        known: rows.schema().fields().iter().map(|field| field.name().clone()).collect(),
    })
}
