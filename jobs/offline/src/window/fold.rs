//! Which rows the aggregates of a window are folded from. Pure.
//!
//! Tiles and moments go through the same `Window::fold`, so what is kept online adds up to what is computed here to the
//! last bit.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{
        Array as _, ArrayRef, AsArray as _, BooleanArray, Float64Array, Int64Array, TimestampMicrosecondArray,
    },
    datatypes::TimestampMicrosecondType,
};
use tidemill_rows::array;
use tidemill_spec::Value;
use tidemill_windows::{Total, Window};

use super::{Events, Windowed};
use crate::{Error, pit::Asked};

/// Each window's values at the asked moments, and when the newest row behind them became valid.
pub(super) fn evaluate(
    windows: &[Windowed],
    events: &Events,
    asked: &Asked,
    threads: usize,
) -> Result<(Vec<ArrayRef>, ArrayRef), Error> {
    let moments = asked.moments.as_primitive::<TimestampMicrosecondType>().values();
    let questions: Vec<(Option<usize>, i64)> =
        events.entity_of.iter().copied().zip(moments.iter().copied()).collect();
    let shares = questions.chunks(questions.len().div_ceil(threads.max(1)).max(1));
    let computed = std::thread::scope(|scope| {
        let running: Vec<_> =
            shares.map(|share| scope.spawn(move || of_share(windows, events, share))).collect();
        let ended = running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        ended.collect::<Vec<_>>()
    });
    let newest = computed.iter().flat_map(|share| share.newest.iter().copied());
    let newest: TimestampMicrosecondArray = newest.collect();
    let column = |(place, windowed): (usize, &Windowed)| {
        let values = computed.iter().flat_map(|share| share.values[place].iter().cloned());
        Ok(array(&windowed.name, windowed.ty, &values.collect::<Vec<_>>())?)
    };
    let columns = windows.iter().enumerate().map(column).collect::<Result<_, Error>>();
    Ok((columns?, Arc::new(newest.with_timezone("UTC"))))
}

/// What is computed of some questions.
struct Share {
    /// Of each window, of each question.
    values: Vec<Vec<Value>>,
    /// When the newest row behind any of them became valid.
    newest: Vec<Option<i64>>,
}

fn of_share(windows: &[Windowed], events: &Events, questions: &[(Option<usize>, i64)]) -> Share {
    let of_window = |(windowed, values): (&Windowed, &ArrayRef)| {
        let window = &windowed.window;
        let at = questions.iter().map(|(entity, at)| {
            let rows = entity.map_or(0..0, |entity| events.between(entity, window.tail_us(*at), *at));
            match window.value(total(window, values, events, rows, *at)) {
                Value::Null => windowed.default.clone(),
                value => value,
            }
        });
        at.collect()
    };
    let newest = questions.iter().map(|(entity, at)| {
        let tail = windows.iter().map(|windowed| windowed.window.tail_us(*at)).min()?;
        let mut rows = events.between((*entity)?, tail, *at).rev();
        rows.find(|row| events.counts(*row, *at)).map(|row| events.valid_us[row])
    });
    Share { values: windows.iter().zip(&events.values).map(of_window).collect(), newest: newest.collect() }
}

/// The aggregate over those of `rows` that count at a moment.
fn total(window: &Window, values: &ArrayRef, events: &Events, rows: Range<usize>, at_us: i64) -> Total {
    let values = Values::of(values);
    let counted = rows.filter(|row| events.counts(*row, at_us));
    window.fold(counted.map(|row| (events.valid_us[row], values.at(row))))
}

/// An array, its type found out once and not for each row.
pub(super) enum Values<'a> {
    Int(&'a Int64Array),
    Float(&'a Float64Array),
    /// Of counts: whether a row counts.
    Counted(&'a BooleanArray),
    Other(&'a ArrayRef),
}

impl<'a> Values<'a> {
    pub(super) fn of(array: &'a ArrayRef) -> Self {
        let any = array.as_any();
        any.downcast_ref()
            .map(Self::Int)
            .or_else(|| any.downcast_ref().map(Self::Float))
            .or_else(|| any.downcast_ref().map(Self::Counted))
            .unwrap_or(Self::Other(array))
    }

    pub(super) fn at(&self, row: usize) -> Value {
        match self {
            Self::Int(array) if array.is_valid(row) => Value::Int(array.value(row)),
            Self::Float(array) if array.is_valid(row) => Value::Float(array.value(row)),
            Self::Counted(array) if array.is_valid(row) && array.value(row) => Value::Bool(true),
            Self::Int(_) | Self::Float(_) | Self::Counted(_) => Value::Null,
            Self::Other(array) => tidemill_rows::value_at(array, row),
        }
    }
}
