//! Who is asked for, at which moments, and what each asked row may know.

use std::{collections::HashMap, ops::Range, sync::Arc};

use arrow::{
    array::{
        Array as _, ArrayRef, AsArray as _, Int64Array, RecordBatch, TimestampMicrosecondArray, UInt64Array,
    },
    compute::{self, take},
    datatypes::{Field, FieldRef, Schema, TimestampMicrosecondType},
    row::{RowConverter, SortField},
};
use tidemill_core::Time;
use tidemill_rows::{self as rows, CREATED_AT};

use crate::{Error, View, span::Span, sql};

/// The label rows' moments and keys, as one read asks for them.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Key columns in the entity's order and types.
    pub(crate) keys: Vec<(String, ArrayRef)>,
    /// Each row's moment, never null.
    pub(crate) moments: ArrayRef,
    /// What counts for whom.
    pub(crate) known: Known,
}

/// Which rows count for the asked ones, by when they were accepted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// For all: those accepted by then; `None`: whenever they were.
    pub(crate) by: Option<Time>,
    /// From this asked row on: of these only those accepted by its own moment.
    pub(crate) strict_from: usize,
}

impl Known {
    /// All rows, for every asked one.
    pub(crate) const ALL: Self = Self { by: None, strict_from: usize::MAX };

    /// Whether an asked row sees only what was accepted by its own moment.
    pub(crate) fn is_strict(self, row: usize) -> bool {
        row >= self.strict_from
    }
}

impl Asked {
    /// Entities by their keys, all at one moment.
    pub(crate) fn at(view: &View, entities: &RecordBatch, moment: Time) -> Self {
        let moments = vec![moment.timestamp_micros(); entities.num_rows()];
        let moments = TimestampMicrosecondArray::from(moments).with_timezone("UTC");
        let keys = view.entity.keys.keys().cloned().zip(entities.columns().iter().cloned()).collect();
        Self { keys, moments: Arc::new(moments), known: Known::ALL }
    }

    /// The moments, in microseconds.
    pub(crate) fn moments_us(&self) -> &[i64] {
        self.moments.as_primitive::<TimestampMicrosecondType>().values()
    }

    /// First and last moment, in microseconds; `None` without rows.
    pub(crate) fn span_us(&self) -> Option<(i64, i64)> {
        let moments = self.moments.as_primitive::<TimestampMicrosecondType>();
        compute::min(moments).zip(compute::max(moments))
    }

    /// Whether a row sees only what was accepted by its own moment.
    pub(crate) fn any_is_strict(&self) -> bool {
        self.known.strict_from < self.moments.len()
    }

    /// Which kinds of rows there are: those that are not strict, and those that are; of no rows the first.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = bool> + use<> {
        let there = [self.known.strict_from > 0 || self.moments.is_empty(), self.any_is_strict()];
        [false, true].into_iter().zip(there).filter_map(|(strict, there)| there.then_some(strict))
    }

    /// What holds of the rows that may be found: valid within a span, and accepted early enough.
    pub(crate) fn condition(&self, span: Span) -> String {
        // At no moment is more known than at the last one.
        let own = if self.known.strict_from == 0 { span.upto } else { None };
        match own.into_iter().chain(self.known.by).min() {
            Some(time) => format!("{} AND {CREATED_AT} <= {}", span.condition(), sql::instant(time)),
            None => span.condition(),
        }
    }

    /// The rows as a batch: `_row`, `_at`, then the keys by name, none of which begins with `_`.
    fn batch(&self) -> Result<RecordBatch, Error> {
        let count = i64::try_from(self.moments.len()).unwrap_or(i64::MAX);
        let row: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
        let system = [("_row", row), ("_at", Arc::clone(&self.moments))];
        let keys = self.keys.iter().map(|(name, array)| (name.as_str(), Arc::clone(array)));
        let columns = system.into_iter().chain(keys).map(|(name, array)| (name, array, true));
        Ok(RecordBatch::try_from_iter_with_nullable(columns).map_err(rows::Error::from)?)
    }

    /// The rows as a batch, each with the `_seq` of a row that was chosen for it.
    pub(super) fn choosing(&self, chosen: Int64Array) -> Result<RecordBatch, Error> {
        let batch = self.batch()?;
        let mut fields: Vec<FieldRef> = batch.schema().fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new("_seq", chosen.data_type().clone(), true)));
        let columns = batch.columns().iter().cloned().chain([Arc::new(chosen) as ArrayRef]).collect();
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(rows::Error::from)?)
    }

    /// The moments as `_at`, each with the columns of a row that was found for it.
    pub(super) fn beside(&self, found: &RecordBatch) -> Result<RecordBatch, Error> {
        let mut fields = vec![Arc::new(Field::new("_at", self.moments.data_type().clone(), false))];
        fields.extend(found.schema().fields().iter().cloned());
        let columns =
            [Arc::clone(&self.moments)].into_iter().chain(found.columns().iter().cloned()).collect();
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(rows::Error::from)?)
    }
}

/// The entities that asked rows are of, in the order of their keys.
pub(crate) struct Entities {
    /// For each asked row its entity; `None` where a key is null.
    pub(crate) of: Vec<Option<usize>>,
    /// Names of the key columns.
    pub(crate) names: Vec<String>,
    /// The keys of each, a column of each name.
    pub(crate) keys: Vec<ArrayRef>,
    /// How many there are.
    pub(crate) count: usize,
    by_key: HashMap<Box<[u8]>, usize>,
    converter: RowConverter,
}

impl Entities {
    pub(crate) fn of(asked: &Asked) -> Result<Self, Error> {
        let (names, arrays): (Vec<String>, Vec<ArrayRef>) = asked.keys.iter().cloned().unzip();
        let fields = arrays.iter().map(|key| SortField::new(key.data_type().clone())).collect();
        let converter = RowConverter::new(fields).map_err(rows::Error::from)?;
        let encoded = converter.convert_columns(&arrays).map_err(rows::Error::from)?;
        let (mut by_key, mut first) = (HashMap::<Box<[u8]>, usize>::new(), Vec::new());
        let mut number = |row: usize| {
            if arrays.iter().any(|array| array.is_null(row)) {
                return None;
            }
            let key = encoded.row(row);
            if let Some(number) = by_key.get(key.as_ref()) {
                return Some(*number);
            }
            first.push(row);
            by_key.insert(key.as_ref().into(), first.len() - 1);
            Some(first.len() - 1)
        };
        let numbers: Vec<Option<usize>> = (0..encoded.num_rows()).map(&mut number).collect();
        let mut order: Vec<usize> = (0..first.len()).collect();
        order.sort_unstable_by_key(|number| encoded.row(first[*number]));
        let mut place = vec![0; order.len()];
        for (entity, number) in order.iter().enumerate() {
            place[*number] = entity;
        }
        for number in by_key.values_mut() {
            *number = place[*number];
        }
        let first = UInt64Array::from_iter_values(order.iter().map(|number| first[*number] as u64));
        let keys = arrays.iter().map(|array| take(array, &first, None)).collect::<Result<_, _>>();
        Ok(Self {
            of: numbers.into_iter().map(|number| number.map(|number| place[number])).collect(),
            names,
            keys: keys.map_err(rows::Error::from)?,
            count: order.len(),
            by_key,
            converter,
        })
    }

    /// Which of them rows with such keys are of, if any.
    pub(crate) fn find(&self, keys: &[ArrayRef]) -> Result<Vec<Option<usize>>, Error> {
        let encoded = self.converter.convert_columns(keys).map_err(rows::Error::from)?;
        Ok(encoded.iter().map(|key| self.by_key.get(key.as_ref()).copied()).collect())
    }

    /// A table of them: `_entity` from 0, then the keys by name.
    pub(crate) fn table(&self) -> Result<RecordBatch, Error> {
        let count = i64::try_from(self.count).unwrap_or(i64::MAX);
        let number: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
        let keys = self.names.iter().map(String::as_str).zip(self.keys.iter().cloned());
        let columns = [("_entity", number)].into_iter().chain(keys).map(|(name, array)| (name, array, true));
        Ok(RecordBatch::try_from_iter_with_nullable(columns).map_err(rows::Error::from)?)
    }
}

/// Rows by the group that each is of, if any: the rows of all groups, one group after the other, and which are of each.
pub(crate) fn grouped(of: &[Option<usize>], groups: usize) -> (Vec<usize>, Vec<Range<usize>>) {
    let mut ends = vec![0; groups + 1];
    for group in of.iter().flatten() {
        ends[group + 1] += 1;
    }
    for group in 0..groups {
        ends[group + 1] += ends[group];
    }
    let spans = ends.windows(2).map(|ends| ends[0]..ends[1]).collect();
    let mut rows = vec![0; ends[groups]];
    for (row, group) in of.iter().enumerate() {
        if let Some(group) = group {
            rows[ends[*group]] = row;
            ends[*group] += 1;
        }
    }
    (rows, spans)
}
