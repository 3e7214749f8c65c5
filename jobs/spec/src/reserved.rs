//! Columns that tables and training sets have of their own.

/// Of every table of the lake.
pub(crate) const OF_TABLES: [&str; 4] = ["valid_at", "created_at", "seq", "deleted"];
/// Of every training set.
const OF_DATASETS: [&str; 3] = ["label_ts", "event_time", "matured_at"];

/// Whose column a name is already.
pub(crate) fn taken(name: &str) -> Option<&'static str> {
    let of = |names: &[&str], whose| names.contains(&name).then_some(whose);
    of(&OF_TABLES, "every table").or_else(|| of(&OF_DATASETS, "every training set"))
}
