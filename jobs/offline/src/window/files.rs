//! The rows of a source that lie in a window that is asked for, found in the files themselves.
//!
//! Of a row group the keys and moments are read first; the other columns only where a row lies within reach. Row groups whose
//! statistics say that none does are left out.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{
        Array as _, ArrayRef, AsArray as _, BooleanArray, Int64Array, RecordBatch, TimestampMicrosecondArray,
        new_null_array,
    },
    buffer::BooleanBuffer,
    compute::{filter, filter_record_batch},
    datatypes::{Field, FieldRef, Schema, SchemaRef, TimestampMicrosecondType},
};
use parquet::arrow::arrow_reader::RowSelection;
use tidemill_core::Time;
use tidemill_rows::{self as rows, CREATED_AT, SEQ, row::column};

use super::{
    events::{PLACED, int},
    reach::Reach,
};
use crate::{
    Error,
    duck::Failure,
    opened::Opened,
    pit::Entities,
    scan::{Scan, ScannedFile},
    span::Span,
    threads::{each_on_threads, on_threads},
};

/// Of so many rows of a row group one: if fewer lie within reach, only these are read.
const FEW: usize = 16;

/// Files whose rows nothing ends, with their columns as they are declared.
pub(super) struct Files {
    scanned: Vec<ScannedFile>,
    /// What gives a row its `valid_at`.
    available_time: String,
    /// What gives a row its `created_at`, where it is there.
    created_time: Option<String>,
    /// Of the windows' own columns.
    fields: Vec<FieldRef>,
    span: Span,
    accepted_by_us: i64,
}

impl Files {
    /// Of a scan of a source; `None` where some columns were stored otherwise. `columns`: all that is needed of it; `keys` of
    /// the entity; `read`: what the windows read.
    pub(super) fn of(
        scan: &Scan,
        columns: &SchemaRef,
        keys: &[String],
        read: &[String],
        span: Span,
        accepted_by: Option<Time>,
    ) -> Option<Self> {
        let (files, stamps) = scan.files_with(columns, keys)?;
        Some(Self {
            scanned: files,
            available_time: stamps.available_time.clone(),
            created_time: stamps.created_time.clone(),
            fields: columns.fields().iter().filter(|field| read.contains(field.name())).cloned().collect(),
            span,
            accepted_by_us: accepted_by.map_or(i64::MAX, |by| by.timestamp_micros()),
        })
    }

    /// Gives `take` the rows within reach, some at a time, in no order: [`PLACED`], then the other columns.
    pub(super) fn each(
        &self,
        threads: usize,
        entities: &Entities,
        reach: &Reach,
        take: impl FnMut(RecordBatch) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let key = &entities.names[0];
        let opened =
            on_threads(&self.scanned, threads, |file| Opened::open(file, key, &self.available_time))?;
        let (from, upto) = self.span.bounds_us();
        let within =
            |valid_us: &Range<i64>| valid_us.start <= upto && from <= valid_us.end && reach.meets(valid_us);
        let groups = opened.iter().flat_map(|file| (0..file.groups.len()).map(move |group| (file, group)));
        let groups: Vec<(&Opened, usize)> =
            groups.filter(|(file, group)| within(&file.groups[*group].valid_us)).collect();
        let read = |(file, group): &(&Opened, usize)| self.within(file, *group, entities, reach);
        each_on_threads(&groups, threads, read, take)
    }

    /// The rows of a row group within reach.
    fn within(
        &self,
        file: &Opened,
        group: usize,
        entities: &Entities,
        reach: &Reach,
    ) -> Result<RecordBatch, Error> {
        let found = self.found(file, group, entities, reach)?;
        let others = [CREATED_AT, SEQ].into_iter().chain(self.created_time.as_deref());
        let others = others.chain(self.fields.iter().map(|field| field.name().as_str())).collect::<Vec<_>>();
        let count = found.rows.values().count_set_bits();
        let read = |selection| file.read(group, selection, &others);
        let rows = if count * FEW < found.rows.len() {
            read(Some(RowSelection::from_filters(std::slice::from_ref(&found.rows))))?
        } else {
            filter_record_batch(&read(None)?, &found.rows).map_err(rows::Error::from)?
        };
        let created = self.created(&rows)?;
        let accepted: BooleanArray =
            created.values().iter().map(|created| Some(*created <= self.accepted_by_us)).collect();
        let placed: [ArrayRef; 4] = [
            Arc::new(found.entity),
            Arc::new(found.valid_us),
            Arc::new(Int64Array::new(created.values().clone(), None)),
            Arc::clone(column(&rows, SEQ)?),
        ];
        let mut fields: Vec<FieldRef> = PLACED.map(int).map(Arc::new).to_vec();
        let mut columns = placed.to_vec();
        for field in &self.fields {
            fields.push(Arc::new(Field::new(field.name(), field.data_type().clone(), true)));
            columns.push(match rows.column_by_name(field.name()) {
                Some(array) => Arc::clone(array),
                // The file is older than the column.
                None => new_null_array(field.data_type(), rows.num_rows()),
            });
        }
        let filtered = columns.iter().map(|array| filter(array, &accepted)).collect::<Result<_, _>>();
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), filtered.map_err(rows::Error::from)?)
            .map_err(rows::Error::from)?)
    }

    /// Which rows of a row group lie within reach.
    fn found(&self, file: &Opened, group: usize, entities: &Entities, reach: &Reach) -> Result<Found, Error> {
        let names = entities.names.iter().map(String::as_str).chain([self.available_time.as_str()]);
        let names: Vec<&str> = names.chain(file.commit_column()).collect();
        let rows = file.read(group, None, &names)?;
        let keys = entities.names.iter().map(|name| Ok(column(&rows, name)?.clone()));
        let of = entities.find(&keys.collect::<Result<Vec<_>, Error>>()?)?;
        let valid = column(&rows, &self.available_time)?.as_primitive::<TimestampMicrosecondType>();
        let counted = file.counted(&rows)?;
        let (mut entity, mut valid_us) = (Vec::new(), Vec::new());
        let within = |row: usize| {
            let Some(of) = of[row] else { return false };
            let counts = valid.is_valid(row) && counted.as_ref().is_none_or(|counted| counted.value(row));
            let holds = counts && reach.holds(of, valid.value(row));
            if holds {
                entity.push(i64::try_from(of).unwrap_or(i64::MAX));
                valid_us.push(valid.value(row));
            }
            holds
        };
        let rows: BooleanBuffer = (0..rows.num_rows()).map(within).collect();
        Ok(Found { rows: BooleanArray::new(rows, None), entity: entity.into(), valid_us: valid_us.into() })
    }

    /// When rows were accepted.
    fn created(&self, rows: &RecordBatch) -> Result<TimestampMicrosecondArray, Error> {
        let accepted = column(rows, CREATED_AT)?.as_primitive::<TimestampMicrosecondType>().clone();
        let declared = self.created_time.as_ref().and_then(|name| rows.column_by_name(name));
        let Some(declared) = declared else { return Ok(accepted) };
        let declared = declared.as_primitive::<TimestampMicrosecondType>();
        let either =
            |row: usize| if declared.is_valid(row) { declared.value(row) } else { accepted.value(row) };
        Ok((0..rows.num_rows()).map(|row| Some(either(row))).collect())
    }
}

/// Rows of a row group within reach.
struct Found {
    /// Which they are.
    rows: BooleanArray,
    /// Of each its entity.
    entity: Int64Array,
    /// Of each its moment.
    valid_us: Int64Array,
}
