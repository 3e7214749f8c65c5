//! A table function over rows that change between executions, so that a statement over them is planned once.
//!
//! A statement names its rows by a number. `bind` finds the place by it when the statement is prepared; what lies there is
//! read when it is executed.

use std::{
    collections::HashMap,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed},
    },
};

use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt64Array},
    compute::{cast, take},
    datatypes::{DataType, FieldRef, Schema, SchemaRef},
    error::ArrowError,
};
use duckdb::{
    core::{DataChunkHandle, LogicalTypeHandle, LogicalTypeId},
    vtab::{
        BindInfo, InitInfo, TableFunctionInfo, VTab, record_batch_to_duckdb_data_chunk,
        to_duckdb_logical_type,
    },
};

/// Rows that one call passes on at most: the size of DuckDB's vectors.
const VECTOR: usize = 2048;

/// Every place that is in use, by number. DuckDB hands a table function nothing but its parameters.
static PLACES: LazyLock<Mutex<HashMap<i64, Place>>> = LazyLock::new(Mutex::default);
static NEXT: AtomicI64 = AtomicI64::new(1);

/// Where a statement finds its rows.
#[derive(Clone, Debug)]
struct Place {
    schema: SchemaRef,
    rows: Arc<Mutex<RecordBatch>>,
}

/// A place of one's own for rows that a statement reads; it ends with this.
#[derive(Debug)]
pub struct Rows {
    /// How a statement names it: `rows(NUMBER)`.
    pub number: i64,
    rows: Arc<Mutex<RecordBatch>>,
}

impl Rows {
    /// With these rows.
    ///
    /// # Errors
    /// A list can't be cast.
    pub fn of(rows: &RecordBatch) -> Result<Self, ArrowError> {
        let place = Self::with(&rows.schema());
        place.put(rows)?;
        Ok(place)
    }

    pub(crate) fn with(schema: &SchemaRef) -> Self {
        let schema = unfixed(schema);
        let rows = Arc::new(Mutex::new(RecordBatch::new_empty(Arc::clone(&schema))));
        let number = NEXT.fetch_add(1, Relaxed);
        locked(&PLACES).insert(number, Place { schema, rows: Arc::clone(&rows) });
        Self { number, rows }
    }

    /// Puts rows there.
    pub(crate) fn put(&self, rows: &RecordBatch) -> Result<(), ArrowError> {
        let schema = unfixed(&rows.schema());
        let columns = schema.fields().iter().zip(rows.columns()).map(|(field, array)| {
            let same = array.data_type() == field.data_type();
            if same { Ok(Arc::clone(array)) } else { cast(array, field.data_type()) }
        });
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let columns = columns.collect::<Result<_, _>>()?;
        *locked(&self.rows) = RecordBatch::try_new_with_options(schema, columns, &options)?;
        Ok(())
    }

    /// Takes the rows away.
    pub(crate) fn clear(&self) {
        let mut rows = locked(&self.rows);
        *rows = RecordBatch::new_empty(rows.schema());
    }
}

/// The columns as SQL has them: a list of a fixed length is a list.
fn unfixed(schema: &SchemaRef) -> SchemaRef {
    let field = |field: &FieldRef| match field.data_type() {
        DataType::FixedSizeList(item, _) => {
            Arc::new(field.as_ref().clone().with_data_type(DataType::List(Arc::clone(item))))
        }
        _ => Arc::clone(field),
    };
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

impl Drop for Rows {
    fn drop(&mut self) {
        locked(&PLACES).remove(&self.number);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `rows(NUMBER)`: the rows that lie at a place. A function of our own: the binding's own one for Arrow keeps every batch that
/// it was ever given.
#[derive(Debug)]
pub struct Scan;

/// How far one execution is.
#[derive(Debug)]
pub struct Scanned {
    rows: OnceLock<RecordBatch>,
    next: AtomicUsize,
}

/// The place that a statement reads.
#[derive(Debug)]
pub struct Bound(Place);

/// Some rows with the values of their own lists alone: the binding copies all that a list column holds, for each call.
fn compact(rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    if !rows.columns().iter().any(|column| column.data_type().is_nested()) {
        return Ok(rows.clone());
    }
    let own = UInt64Array::from_iter_values(0..rows.num_rows() as u64);
    let column = |column: &ArrayRef| {
        if column.data_type().is_nested() { take(column, &own, None) } else { Ok(Arc::clone(column)) }
    };
    RecordBatch::try_new(rows.schema(), rows.columns().iter().map(column).collect::<Result<_, _>>()?)
}

impl VTab for Scan {
    type InitData = Scanned;
    type BindData = Bound;

    fn bind(bind: &BindInfo) -> Result<Bound, Box<dyn std::error::Error>> {
        let number = bind.get_parameter(0).to_int64();
        let place = locked(&PLACES).get(&number).cloned().ok_or("there are no rows of this number")?;
        for field in place.schema.fields() {
            bind.add_result_column(field.name(), to_duckdb_logical_type(field.data_type())?);
        }
        Ok(Bound(place))
    }

    fn init(_: &InitInfo) -> Result<Scanned, Box<dyn std::error::Error>> {
        Ok(Scanned { rows: OnceLock::new(), next: AtomicUsize::new(0) })
    }

    fn func(
        function: &TableFunctionInfo<Self>,
        output: &mut DataChunkHandle,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let scanned = function.get_init_data();
        let rows = scanned.rows.get_or_init(|| locked(&function.get_bind_data().0.rows).clone());
        let from = scanned.next.fetch_add(VECTOR, Relaxed).min(rows.num_rows());
        let some = rows.slice(from, VECTOR.min(rows.num_rows() - from));
        if some.num_rows() == 0 {
            output.set_len(0);
            return Ok(());
        }
        record_batch_to_duckdb_data_chunk(&compact(&some)?, output)
    }

    fn parameters() -> Option<Vec<LogicalTypeHandle>> {
        Some(vec![LogicalTypeHandle::from(LogicalTypeId::Bigint)])
    }
}
