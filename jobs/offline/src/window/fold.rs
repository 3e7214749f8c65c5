//! Which rows the aggregates of a window are folded from. Pure.
//!
//! Tiles and moments go through the same `Window::fold`, so what is kept online adds up to what is computed here to the
//! last bit.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, BooleanArray, Float64Array, Int64Array, TimestampMicrosecondArray, new_empty_array,
    },
    compute::concat,
};
use tidemill_rows::{array, arrow_type};
use tidemill_spec::Value;

use super::{Events, Windowed};
use crate::{Error, pit::Asked, threads::on_threads};

/// Questions that are answered in one go.
const SHARE: usize = 16_384;

/// Each window's values at the asked moments, and when the newest row behind them became valid.
pub(super) fn evaluate(
    windows: &[Windowed],
    events: &Events,
    asked: &Asked,
    threads: usize,
) -> Result<(Vec<ArrayRef>, ArrayRef), Error> {
    let question = |(row, (entity, at)): (usize, (&Option<usize>, &i64))| Question {
        entity: *entity,
        at: *at,
        strict: asked.known.is_strict(row),
    };
    let questions = events.entity_of.iter().zip(asked.moments_us()).enumerate();
    let questions: Vec<Question> = questions.map(question).collect();
    let shares: Vec<&[Question]> = questions.chunks(SHARE).collect();
    let computed = on_threads(&shares, threads, |share| of_share(windows, events, share))?;
    let newest = computed.iter().flat_map(|share| share.newest.iter().copied());
    let newest: TimestampMicrosecondArray = newest.collect();
    let column = |place: usize| {
        let parts: Vec<&dyn Array> = computed.iter().map(|share| share.values[place].as_ref()).collect();
        if parts.is_empty() {
            return Ok(new_empty_array(&arrow_type(windows[place].ty)));
        }
        Ok(concat(&parts).map_err(tidemill_rows::Error::from)?)
    };
    let columns = (0..windows.len()).map(column).collect::<Result<_, Error>>();
    Ok((columns?, Arc::new(newest.with_timezone("UTC"))))
}

/// What is asked of the windows.
struct Question {
    entity: Option<usize>,
    at: i64,
    strict: bool,
}

/// What is computed of some questions.
struct Share {
    /// Of each window, of each question.
    values: Vec<ArrayRef>,
    /// When the newest row behind any of them became valid.
    newest: Vec<Option<i64>>,
}

fn of_share(windows: &[Windowed], events: &Events, questions: &[Question]) -> Result<Share, Error> {
    let sights = [false, true].map(|strict| events.seen(strict));
    let of_window = |(windowed, values): (&Windowed, &ArrayRef)| {
        let (window, values) = (&windowed.window, Values::of(values));
        let at = questions.iter().map(|Question { entity, at, strict }| {
            let rows = entity.map_or(0..0, |entity| events.between(entity, window.tail_us(*at), *at));
            let sight = sights[usize::from(*strict)];
            let counted = rows.filter(|row| sight.counts(*row, *at));
            let total = window.fold(counted.map(|row| (events.valid_us[row], values.at(row))));
            match window.value(total) {
                Value::Null => windowed.default.clone(),
                value => value,
            }
        });
        Ok(array(&windowed.name, windowed.ty, &at.collect::<Vec<_>>())?)
    };
    let newest = questions.iter().map(|Question { entity, at, strict }| {
        let tail = windows.iter().map(|windowed| windowed.window.tail_us(*at)).min()?;
        let mut rows = events.between((*entity)?, tail, *at).rev();
        let sight = sights[usize::from(*strict)];
        rows.find(|row| sight.counts(*row, *at)).map(|row| events.valid_us[row])
    });
    let newest = newest.collect();
    Ok(Share {
        values: windows.iter().zip(&events.values).map(of_window).collect::<Result<_, Error>>()?,
        newest,
    })
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
