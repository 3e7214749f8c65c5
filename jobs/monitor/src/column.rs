//! One column on both sides: its figures and its histogram. Pure.

use std::sync::Arc;

use arrow::{
    array::{Array as _, ArrayRef, RecordBatch, new_null_array},
    compute::cast,
    datatypes::{DataType, TimeUnit},
    error::ArrowError,
};
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    counts::{Bins, Counts, Scale, share, sorted},
    measure::{self, Distances},
};

/// Bars of a histogram that are kept; of more categories, the largest. Figures are of all.
const BARS_MAX: usize = 500;

/// How one column of a window compares with its reference. Figures are none where a side has no value to tell them from;
/// `docs/reference/drift.md` has the formulas.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnReport {
    /// The column.
    pub column: String,
    /// `number`, `date`, `timestamp` or `category`.
    pub kind: String,
    /// Population stability index over the reference's ten quantile bins (or its categories and one for unseen ones),
    /// half a count added to each bin, natural logarithm. Nulls are a bin where either side has any: then it is
    /// [`with_null`](Self::with_null)'s, else [`known`](Self::known)'s.
    pub psi: Option<f64>,
    /// Jensen-Shannon distance of the known values: the square root of the divergence to base 2. As [`known`](Self::known)'s.
    pub js: Option<f64>,
    /// Kolmogorov-Smirnov statistic of the known values at the bins' edges; none for categories.
    pub ks: Option<f64>,
    /// Kolmogorov-Smirnov statistic of the finite values themselves, at least `ks`; none for categories.
    pub ks_exact: Option<f64>,
    /// Hellinger distance of the known values.
    pub hellinger: Option<f64>,
    /// Largest difference of a bin's shares (L∞), of the known values.
    pub linf: Option<f64>,
    /// Total variation distance of the known values.
    pub tvd: Option<f64>,
    /// What `known.psi` would be of two samples of one distribution: `(bins - 1) (1/n + 1/m)`.
    pub psi_expected: Option<f64>,
    /// Between known values: nulls and infinities left out.
    pub known: Distances,
    /// The same with a bin for nulls, whether there are any or not; infinities left out.
    pub with_null: Distances,
    /// Share of nulls (NaN too) in the reference's rows.
    pub null_rate_reference: Option<f64>,
    /// Share of nulls (NaN too) in the window's rows.
    pub null_rate_current: Option<f64>,
    /// Share of the window's rows whose category the reference never had; none for what has an order.
    pub unseen_rate: Option<f64>,
    /// Rows of the reference.
    pub rows_reference: u64,
    /// Rows of the window.
    pub rows_current: u64,
    /// Infinities in the reference; they lie in no bin.
    pub infinite_reference: u64,
    /// Infinities in the window.
    pub infinite_current: u64,
    /// The reference's finite values; none for other kinds than `number`.
    pub spread_reference: Option<Spread>,
    /// The window's finite values.
    pub spread_current: Option<Spread>,
    /// The histogram, bin by bin; nulls last, where there are any.
    pub bins: Vec<Bin>,
}

/// Where the finite values of a side lie.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, of the values themselves (divided by n).
    pub std: f64,
    /// The greatest.
    pub max: f64,
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
/// A side lacks the column, its type can't be counted, or the two sides are of different kinds.
pub fn compare_column(
    reference: &RecordBatch,
    current: &RecordBatch,
    column: &str,
) -> Result<ColumnReport, Error> {
    let (before, now) =
        (named(reference, column, "the reference")?, named(current, column, "what is compared with it")?);
    let scale = scale(column, before, now)?;
    // A side without values may have any type; the other's is what it is counted as.
    let before = if empty(before) { &new_null_array(now.data_type(), before.len()) } else { before };
    let (before, now) = (on(scale, before)?, on(scale, now)?);
    let bins = Bins::freeze(&before, scale)?;
    let [before, now] = [before, now].map(|side| Side::of(&side, &bins, scale));
    Ok(report(column, scale, &bins, &before?, &now?))
}

/// A column by name; `side` says where it was looked for.
pub(crate) fn named<'a>(
    rows: &'a RecordBatch,
    column: &str,
    side: &'static str,
) -> Result<&'a ArrayRef, Error> {
    rows.column_by_name(column).ok_or_else(|| Error::MissingColumn {
        column: column.to_owned(),
        side,
        known: rows.schema().fields().iter().map(|field| field.name().clone()).collect(),
    })
}

struct Side {
    counts: Counts,
    sorted: Vec<f64>,
}

impl Side {
    fn of(column: &ArrayRef, bins: &Bins, scale: Scale) -> Result<Self, ArrowError> {
        let sorted = if scale == Scale::Category { Vec::new() } else { sorted(column)? };
        Ok(Self { counts: bins.count(column)?, sorted })
    }

    fn spread(&self, scale: Scale) -> Option<Spread> {
        let (min, max) = self.sorted.first().zip(self.sorted.last()).filter(|_| scale == Scale::Number)?;
        #[expect(clippy::cast_precision_loss, reason = "row counts are far below 2^52")]
        let mean_of = |sum: f64| sum / self.sorted.len() as f64;
        let mean = mean_of(self.sorted.iter().sum());
        let variance = mean_of(self.sorted.iter().map(|x| (x - mean).powi(2)).sum());
        Some(Spread { min: *min, mean, std: variance.sqrt(), max: *max })
    }
}

/// What both sides are.
fn scale(column: &str, reference: &ArrayRef, current: &ArrayRef) -> Result<Scale, Error> {
    let of = |side: &ArrayRef| {
        Scale::of(side.data_type())
            .ok_or_else(|| Error::Uncountable { column: column.to_owned(), ty: side.data_type().to_string() })
    };
    match (of(reference)?, of(current)?) {
        (before, now) if before == now => Ok(before),
        (_, now) if empty(reference) => Ok(now),
        (before, _) if empty(current) => Ok(before),
        (Scale::Date, Scale::Timestamp) | (Scale::Timestamp, Scale::Date) => Ok(Scale::Timestamp),
        (before, now) => Err(Error::OtherKind {
            column: column.to_owned(),
            reference: before.as_str(),
            current: now.as_str(),
        }),
    }
}

/// A date beside timestamps is its midnight, UTC.
fn on(scale: Scale, column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let date = matches!(column.data_type(), DataType::Date32 | DataType::Date64);
    if scale == Scale::Timestamp && date {
        return cast(column, &DataType::Timestamp(TimeUnit::Microsecond, None));
    }
    Ok(Arc::clone(column))
}

fn empty(column: &ArrayRef) -> bool {
    column.logical_null_count() == column.len()
}

fn report(column: &str, scale: Scale, bins: &Bins, reference: &Side, current: &Side) -> ColumnReport {
    let (before, now) = (&reference.counts, &current.counts);
    let (known, with_null) = (Distances::of_known(before, now), Distances::with_null(before, now));
    let nulls = before.nulls + now.nulls > 0;
    let (ks, unseen_rate) = match bins {
        Bins::Ordered { .. } => (measure::ks(&before.bins, &now.bins), None),
        Bins::Categories(values) => (None, share(now.bins[values.len()], now.rows())),
    };
    ColumnReport {
        column: column.to_owned(),
        kind: scale.as_str().to_owned(),
        psi: if nulls { with_null.psi } else { known.psi },
        js: known.js,
        ks,
        ks_exact: measure::ks_exact(&reference.sorted, &current.sorted),
        hellinger: known.hellinger,
        linf: known.linf,
        tvd: known.tvd,
        psi_expected: measure::psi_expected(&before.bins, &now.bins),
        known,
        with_null,
        null_rate_reference: before.null_rate(),
        null_rate_current: now.null_rate(),
        unseen_rate,
        rows_reference: before.rows(),
        rows_current: now.rows(),
        infinite_reference: before.infinite,
        infinite_current: now.infinite,
        spread_reference: reference.spread(scale),
        spread_current: current.spread(scale),
        bins: histogram(bins, before, now, nulls),
    }
}

fn histogram(bins: &Bins, before: &Counts, now: &Counts, nulls: bool) -> Vec<Bin> {
    let counts = before.bins.iter().zip(&now.bins);
    let bar = |(label, (&reference, &current)): (String, (&u64, &u64))| Bin { label, reference, current };
    let mut bars: Vec<Bin> = bins.labels().into_iter().zip(counts).map(bar).collect();
    if let (Bins::Categories(_), Some(unseen)) = (bins, bars.pop_if(|_| bars_exceed(before))) {
        bars.sort_by_key(|bar| std::cmp::Reverse(bar.reference + bar.current));
        let others = bars.split_off(BARS_MAX.min(bars.len()));
        bars.push(Bin {
            label: format!("({} others)", others.len()),
            reference: others.iter().map(|bar| bar.reference).sum(),
            current: others.iter().map(|bar| bar.current).sum(),
        });
        bars.push(unseen);
    }
    if nulls {
        bars.push(Bin { label: "null".to_owned(), reference: before.nulls, current: now.nulls });
    }
    bars
}

fn bars_exceed(counts: &Counts) -> bool {
    counts.bins.len() > BARS_MAX + 1
}
