//! Which columns a lake table has: what is declared, then the system columns.
//!
//! The total order of all rows is `(valid_at, created_at, seq)`; none of the three is ever null.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use tidemill_spec::{Digits, Element, Entity, FeatureView, Rule, Source, Type};
use tidemill_windows::Window;

/// When the world could know the row.
pub const VALID_AT: &str = "valid_at";
/// The data clock when it was accepted or computed.
pub const CREATED_AT: &str = "created_at";
/// Breaks ties of the two above.
pub const SEQ: &str = "seq";
/// Whether the row says that there is nothing any more.
pub const DELETED: &str = "deleted";
/// In tables of window views: length of the row's tile, in microseconds.
pub const HOP_US: &str = "_hop_us";
/// In tables of window views: `k` of the tile `(k·hop, (k+1)·hop]`.
pub const TILE: &str = "_tile";
/// In tables of window views: greatest `valid_at` of the tile's rows.
pub const NEWEST: &str = "_newest";

/// The Arrow type that stands for `ty`.
pub fn arrow_type(ty: Type) -> DataType {
    match ty {
        Type::String => DataType::Utf8,
        Type::Int => DataType::Int64,
        Type::Float => DataType::Float64,
        Type::Bool => DataType::Boolean,
        Type::Date => DataType::Date32,
        Type::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Type::Decimal(digits) => DataType::Decimal128(digits.precision(), digits.scale().cast_signed()),
        Type::List { of, length: None } => DataType::List(item(of)),
        Type::List { of, length: Some(length) } => DataType::FixedSizeList(item(of), length.cast_signed()),
    }
}

/// What a list holds.
pub(crate) fn item(of: Element) -> FieldRef {
    Arc::new(field("item", of.into()))
}

/// The declared type that an Arrow type stands for; `None` where there is none.
pub fn type_of(arrow: &DataType) -> Option<Type> {
    Some(match arrow {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Type::String,
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32 => Type::Int,
        DataType::Float16 | DataType::Float32 | DataType::Float64 => Type::Float,
        DataType::Boolean => Type::Bool,
        DataType::Date32 | DataType::Date64 => Type::Date,
        DataType::Timestamp(_, _) => Type::Timestamp,
        DataType::Dictionary(_, values) => return type_of(values),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale) => {
            Type::Decimal(Digits::new(*precision, u8::try_from(*scale).ok()?)?)
        }
        DataType::List(item) | DataType::LargeList(item) => {
            return Type::list(type_of(item.data_type())?, None);
        }
        DataType::FixedSizeList(item, length) => {
            return Type::list(type_of(item.data_type())?, Some(u32::try_from(*length).ok()?));
        }
        _ => return None,
    })
}

/// A nullable column.
pub fn field(name: &str, ty: Type) -> Field {
    Field::new(name, arrow_type(ty), true)
}

/// Columns of a source's lake table: the declared ones, then the system columns.
pub fn source_schema(source: &Source) -> SchemaRef {
    let columns = source.columns.iter();
    with_system(
        columns.map(|(name, column)| Field::new(name, arrow_type(column.ty), column.nullable)).collect(),
    )
}

/// Columns of a view's lake table: the entity's keys, then the features that are stored, then the system columns.
///
/// Ages are not stored: they follow from `valid_at`. A window view stores tiles: [`HOP_US`], [`TILE`],
/// [`NEWEST`], and for each window feature `F` the rows counted as `_F_n` and, unless it counts, the value of its
/// partial aggregate as `F`; null in the tiles of other hops.
pub fn view_schema(view: &FeatureView, entity: &Entity) -> SchemaRef {
    let mut fields: Vec<Field> =
        entity.keys.iter().map(|(name, ty)| Field::new(name, arrow_type(*ty), false)).collect();
    if is_windows(view) {
        fields.push(Field::new(HOP_US, DataType::Int64, false));
        fields.push(Field::new(TILE, DataType::Int64, false));
        fields.push(field(NEWEST, Type::Timestamp));
    }
    for (name, feature) in &view.features {
        match &feature.rule {
            Rule::Age => {}
            Rule::Last(_) | Rule::Sql(_) | Rule::Python => fields.push(field(name, feature.ty)),
            Rule::Window { .. } => {
                let partial = Window::of(feature).and_then(|window| window.partial_type());
                fields.push(field(&counted(name), Type::Int));
                fields.extend(partial.map(|ty| field(name, ty)));
            }
        }
    }
    with_system(fields)
}

/// Whether the view keeps tiles.
pub fn is_windows(view: &FeatureView) -> bool {
    view.features.values().any(|feature| matches!(feature.rule, Rule::Window { .. }))
}

/// The column of a tile that says how many rows the feature's aggregate counted.
pub fn counted(feature: &str) -> String {
    format!("_{feature}_n")
}

/// The system columns, in their order.
pub fn system_fields() -> [Field; 4] {
    [
        Field::new(VALID_AT, arrow_type(Type::Timestamp), false),
        Field::new(CREATED_AT, arrow_type(Type::Timestamp), false),
        Field::new(SEQ, DataType::Int64, false),
        Field::new(DELETED, DataType::Boolean, false),
    ]
}

fn with_system(mut fields: Vec<Field>) -> SchemaRef {
    fields.extend(system_fields());
    Arc::new(Schema::new(fields))
}
