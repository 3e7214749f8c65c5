//! One column on both sides: its figures and its histogram. Pure.

use std::sync::Arc;

use arrow::{
    array::{Array as _, ArrayRef, AsArray as _, RecordBatch, new_null_array},
    compute::cast,
    datatypes::{DataType, TimeUnit},
    error::ArrowError,
};
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    counts::{Bins, Counts, Scale, SideBySide, share, sorted},
    defect::{self, Defect, DefectKind, Side},
    measure::{self, Distances},
    words::{Kind, Values, kind_of, read},
};

/// Bars of a histogram that are kept; of more categories, the largest. Figures are of all.
const BARS_MAX: usize = 500;

/// How one column of a window compares with its reference. Figures are none where a side has no value to tell them from;
/// `docs/reference/drift.md` has the formulas.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ColumnReport {
    /// The column.
    pub column: String,
    /// `number`, `date`, `timestamp` or `category`; `none` where the sides can't be compared.
    pub kind: String,
    /// Population stability index over the reference's ten quantile bins (or its categories and one for unseen ones),
    /// half a count added to each bin, natural logarithm. Nulls are a bin where either side has any: then it is
    /// [`with_null`](Self::with_null)'s, else [`known`](Self::known)'s.
    pub psi: Option<f64>,
    /// Jensen-Shannon distance of the known values: the square root of the divergence to base 2. As [`known`](Self::known)'s.
    pub js: Option<f64>,
    /// Kolmogorov-Smirnov statistic at the bins' edges, which may hide a shift within a bin; none for categories.
    pub ks: Option<f64>,
    /// Kolmogorov-Smirnov statistic of the finite values themselves, at least `ks`: what monitors judge and tables show;
    /// none for categories.
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
    /// What isn't as it should be on either side; figures are of the rest.
    #[serde(default)]
    pub defects: Vec<Defect>,
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

/// A column of one side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given<'a> {
    pub(crate) array: &'a ArrayRef,
    /// Its text is the words of a file that says nothing of types.
    pub(crate) words: bool,
}

/// Compares one column; the bins are the reference's. What stands against it is among its defects.
///
/// # Errors
/// Neither side has the column.
pub fn compare_column(
    reference: &RecordBatch,
    current: &RecordBatch,
    column: &str,
) -> Result<ColumnReport, Error> {
    let given = |rows: &'_ RecordBatch| rows.column_by_name(column).cloned();
    let (before, now) = (given(reference), given(current));
    let side = |array: &'_ Option<ArrayRef>| array.is_some();
    if !side(&before) && !side(&now) {
        named(reference, column, "the reference")?;
    }
    let [before, now] =
        [&before, &now].map(|array| array.as_ref().map(|array| Given { array, words: false }));
    compare_given(column, before, now)
}

/// The same of a column of each side.
pub(crate) fn compare_given(
    column: &str,
    reference: Option<Given<'_>>,
    current: Option<Given<'_>>,
) -> Result<ColumnReport, Error> {
    let rows = [reference, current].map(|side| side.map_or(0, |side| side.array.len()));
    let (reference, current) = match (reference, current) {
        (Some(reference), Some(current)) => (reference, current),
        (before, _) => {
            let (kind, note) = if before.is_some() {
                (DefectKind::Missing, "the column is missing: the reference has it")
            } else {
                (DefectKind::New, "the column is new: the reference does not have it")
            };
            return Ok(unfit(column, rows, kind, Side::Current, note.to_owned()));
        }
    };
    let (before, now) = typed(reference, current);
    let scale = match scale(&before, &now) {
        Ok(scale) => scale,
        Err((kind, side, note)) => return Ok(unfit(column, rows, kind, side, note)),
    };
    let defects = [(&before, Side::Reference), (&now, Side::Current)];
    let defects = defects.into_iter().flat_map(|(values, side)| defects_of(values, side)).collect();
    // A side without values may have any type; the other's is what it is counted as.
    let old = if empty(&before.array) {
        new_null_array(now.array.data_type(), before.array.len())
    } else {
        Arc::clone(&before.array)
    };
    let (old, new) = (on(scale, &old)?, on(scale, &now.array)?);
    let bins = Bins::freeze(&old, scale)?;
    let (old, new) = (Counted::of(&old, &before, &bins, scale)?, Counted::of(&new, &now, &bins, scale)?);
    Ok(ColumnReport { defects, ..report(column, scale, &bins, &old, &new) })
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

struct Counted {
    counts: Counts,
    sorted: Vec<f64>,
}

impl Counted {
    fn of(column: &ArrayRef, values: &Values, bins: &Bins, scale: Scale) -> Result<Self, ArrowError> {
        let sorted = if scale == Scale::Category { Vec::new() } else { sorted(column)? };
        let mut counts = bins.count(column)?;
        // They are null among the values, but no nulls.
        counts.wrong = values.wrong.len() as u64;
        counts.nulls -= counts.wrong;
        Ok(Self { counts, sorted })
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

/// Both sides with types: a side of words is read as what the other side is, or else as what most of the words are.
fn typed(reference: Given<'_>, current: Given<'_>) -> (Values, Values) {
    let words = |side: &Given<'_>| side.array.as_string_opt::<i32>().filter(|_| side.words).cloned();
    let plain =
        |side: &Given<'_>| Values { array: Arc::clone(side.array), wrong: Vec::new(), note: String::new() };
    let told = |side: &Given<'_>| (!empty(side.array)).then(|| Kind::of(side.array.data_type()));
    let both = |before: Option<Kind>, now: Option<Kind>| match (before, now) {
        (Some(Kind::Date), Some(Kind::Timestamp)) => Kind::Timestamp,
        (before, now) => before.or(now).unwrap_or(Kind::Text),
    };
    match (words(&reference), words(&current)) {
        (None, None) => (plain(&reference), plain(&current)),
        (Some(before), None) => {
            let kind = both(told(&current), kind_of(&before));
            (read(&before, kind), plain(&current))
        }
        (None, Some(now)) => {
            let kind = both(told(&reference), kind_of(&now));
            (plain(&reference), read(&now, kind))
        }
        (Some(before), Some(now)) => {
            let kind = both(kind_of(&before), kind_of(&now));
            (read(&before, kind), read(&now, kind))
        }
    }
}

/// What both sides are, or why they can't be compared.
fn scale(reference: &Values, current: &Values) -> Result<Scale, (DefectKind, Side, String)> {
    let of = |values: &Values, side| {
        Scale::of(values.array.data_type()).ok_or_else(|| {
            let what = match values.array.data_type() {
                DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
                    "a list".to_owned()
                }
                DataType::Struct(_) => "a struct".to_owned(),
                DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytes".to_owned(),
                other => other.to_string(),
            };
            let note = format!("{what}: only numbers, dates, timestamps, text and bools are compared");
            (DefectKind::Uncountable, side, note)
        })
    };
    let (before, now) = (of(reference, Side::Reference)?, of(current, Side::Current)?);
    for (values, side) in [(reference, Side::Reference), (current, Side::Current)] {
        if !values.wrong.is_empty() && empty(&values.array) {
            return Err((
                DefectKind::OtherKind,
                side,
                format!("the other side has a {}, but here {}", before.as_str(), values.note),
            ));
        }
    }
    match (before, now) {
        (before, now) if before == now => Ok(before),
        (_, now) if empty(&reference.array) => Ok(now),
        (before, _) if empty(&current.array) => Ok(before),
        (Scale::Date, Scale::Timestamp) | (Scale::Timestamp, Scale::Date) => Ok(Scale::Timestamp),
        (before, now) => {
            let note = format!("a {} in the reference, a {} here", before.as_str(), now.as_str());
            Err((DefectKind::OtherKind, Side::Current, note))
        }
    }
}

fn defects_of(values: &Values, side: Side) -> Vec<Defect> {
    let first = values.wrong.first().map(|row| *row as u64 + 1);
    let wrong = first.map(|_| Defect {
        kind: DefectKind::WrongType,
        side,
        rows: values.wrong.len() as u64,
        first_row: first,
        note: values.note.clone(),
    });
    wrong.into_iter().chain(defect::of_floats(&values.array, side)).collect()
}

/// A column of which no figure can be told.
fn unfit(column: &str, rows: [usize; 2], kind: DefectKind, side: Side, note: String) -> ColumnReport {
    let [rows_reference, rows_current] = rows.map(|rows| rows as u64);
    let rows = if side == Side::Reference { rows_reference } else { rows_current };
    ColumnReport {
        column: column.to_owned(),
        kind: "none".to_owned(),
        rows_reference,
        rows_current,
        defects: vec![Defect { kind, side, rows, first_row: (rows > 0).then_some(1), note }],
        ..ColumnReport::default()
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

fn report(column: &str, scale: Scale, bins: &Bins, reference: &Counted, current: &Counted) -> ColumnReport {
    let (before, now) = (&reference.counts, &current.counts);
    let sides = bins.side_by_side(before, now);
    let known = Distances::of_known(&sides);
    let with_null = Distances::with_null(&sides, (before.nulls, now.nulls));
    let nulls = before.nulls + now.nulls > 0;
    let (ks, unseen_rate) = match bins {
        Bins::Ordered { .. } => (measure::ks(&sides.reference, &sides.current), None),
        Bins::Categories(values) => (None, share(now.cells[values.len()], now.rows())),
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
        psi_expected: measure::psi_expected(&sides.reference, &sides.current),
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
        bins: histogram(bins, sides, nulls.then_some((before.nulls, now.nulls))),
        defects: Vec::new(),
    }
}

fn histogram(bins: &Bins, sides: SideBySide, nulls: Option<(u64, u64)>) -> Vec<Bin> {
    let many = sides.labels.len() > BARS_MAX + 1;
    let counts = sides.reference.into_iter().zip(sides.current);
    let bar = |(label, (reference, current)): (String, (u64, u64))| Bin { label, reference, current };
    let mut bars: Vec<Bin> = sides.labels.into_iter().zip(counts).map(bar).collect();
    if let (Bins::Categories(_), Some(unseen)) = (bins, bars.pop_if(|_| many)) {
        bars.sort_by_key(|bar| std::cmp::Reverse(bar.reference + bar.current));
        let others = bars.split_off(BARS_MAX.min(bars.len()));
        bars.push(Bin {
            label: format!("({} others)", others.len()),
            reference: others.iter().map(|bar| bar.reference).sum(),
            current: others.iter().map(|bar| bar.current).sum(),
        });
        bars.push(unseen);
    }
    if let Some((reference, current)) = nulls {
        bars.push(Bin { label: "null".to_owned(), reference, current });
    }
    bars
}
