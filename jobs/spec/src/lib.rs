//! The declared objects of a project and everything that can be said of them without running anything.
//!
//! Reading order: [`object`] (what is declared), [`Type`] and [`value`] (types and values), [`args`] (what crates enqueue
//! for each other), then how YAML becomes objects and which mistakes are found. Pure: no I/O but reading a
//! folder of YAML, no database.

pub mod args;
mod check;
mod decimal;
mod declared_sql;
pub mod diagnostic;
pub mod expr;
mod folder;
pub mod json;
mod load;
pub mod object;
mod objects;
mod parse;
mod reserved;
pub mod steps;
mod ty;
pub mod units;
pub mod value;
mod yaml;

pub use declared_sql::{DeclaredSql, SqlRole};
pub use diagnostic::{Diagnostic, Severity};
pub use folder::wrong_path;
pub use load::{LoadOptions, Loaded, PROJECT_FILE, load, load_files, load_with};

pub use decimal::Decimal;
pub use object::{
    Aggregate, Ahead, Asked, Batch, Check, Clock, Column, Csv, DecimalMark, Encoding, Entity, Epoch, Every,
    Extra, Feature, FeatureView, Freshness, Hydration, HydrationRead, Input, InputView, KeyOrigin, Label,
    LineEnd, Meta, Model, Monitor, MonitorTarget, Newest, Notifier, OnDemand, OnlineFeatures, Operand,
    OutputType, Pipeline, PipelineSchedule, Plan, Population, PredictionLog, Project, Reference, Rule,
    Source, Start, Step, Stream, StreamFormat, ViewInput, ViewKind, probability_column, scored,
};
pub use objects::{Definition, ObjectKind, ObjectRef, Objects};
pub use ty::{Digits, Element, Type};
pub use value::Value;
