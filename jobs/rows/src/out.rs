//! Rows written out as files that people read, batch by batch: Parquet, or CSV that an upload reads back as it was.

use std::io::{self, Write};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use parquet::arrow::ArrowWriter;

use crate::{Error, csv, parquet::properties};

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// Comma-separated, with a header. Nothing is null, quoted nothing is empty text.
    Csv,
}

/// A file that is being written.
pub struct Writer<W: Write + Send>(Kind<W>);

enum Kind<W: Write + Send> {
    Parquet(Box<ArrowWriter<W>>),
    Csv(W),
}

impl<W: Write + Send> Writer<W> {
    /// Begins a file of these columns.
    ///
    /// # Errors
    /// A column that the format can't hold, or the file can't be written.
    pub fn open(format: Format, mut file: W, schema: &SchemaRef) -> Result<Self, Error> {
        Ok(Self(match format {
            Format::Parquet => {
                Kind::Parquet(Box::new(ArrowWriter::try_new(file, schema.clone(), Some(properties()))?))
            }
            Format::Csv => {
                csv::header(&mut file, schema)?;
                Kind::Csv(file)
            }
        }))
    }

    /// Appends rows.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        match &mut self.0 {
            Kind::Parquet(writer) => Ok(writer.write(batch)?),
            Kind::Csv(file) => csv::rows(file, batch),
        }
    }

    /// Ends the file, and gives it back.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn finish(self) -> Result<W, Error> {
        match self.0 {
            Kind::Parquet(mut writer) => {
                writer.flush()?;
                // What can't be written is the file's doing: `into_inner` would say so in words alone.
                writer.sync()?;
                Ok((*writer).into_inner().map_err(io::Error::other)?)
            }
            Kind::Csv(mut file) => {
                file.flush()?;
                Ok(file)
            }
        }
    }
}

impl<W: Write + Send> std::fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writer")
    }
}
