//! What a file has beyond the columns of its source: counted by name where it is ignored, JSON where it is kept.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use tidemill_rows::text::Cell;

/// Names that are counted at most: where keys are data, a file has as many as it likes.
const NAMES_MAX: usize = 100;

/// Rows that had something of a name which isn't declared, for the first names that were met.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Ignored(BTreeMap<String, u64>);

impl Ignored {
    pub(crate) fn add(&mut self, name: &str, rows: u64) {
        if let Some(count) = self.0.get_mut(name) {
            *count += rows;
        } else if rows > 0 && self.0.len() < NAMES_MAX {
            self.0.insert(name.to_owned(), rows);
        }
    }

    pub(crate) fn extend(&mut self, other: &Self) {
        for (name, rows) in &other.0 {
            self.add(name, *rows);
        }
    }

    pub(crate) fn into_counts(self) -> BTreeMap<String, u64> {
        self.0
    }
}

/// What was ignored, for a log; none where there was nothing.
pub(crate) fn told(ignored: &BTreeMap<String, u64>) -> Option<String> {
    let rows = |rows: u64| if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
    let names: Vec<_> = ignored.iter().map(|(name, of)| format!("`{name}` in {}", rows(*of))).collect();
    (!names.is_empty()).then(|| format!("not declared and ignored: {}", names.join(", ")))
}

/// What a row has beyond the declared columns, as the text of a JSON object in the order of names; none where it has
/// nothing.
pub(crate) fn kept<'n>(extra: impl IntoIterator<Item = (&'n str, Option<Cell>)>) -> Option<String> {
    let mut extra: Vec<_> = extra.into_iter().filter_map(|(name, cell)| Some((name, cell?))).collect();
    extra.sort_unstable_by_key(|(name, _)| *name);
    let mut object = String::new();
    for (name, Cell { text, quoted }) in extra {
        object.push(if object.is_empty() { '{' } else { ',' });
        let _ = write!(object, "{}:", Json::from(name));
        // Numbers keep the digits that they were written with.
        object += &if quoted { Json::from(text).to_string() } else { text };
    }
    (!object.is_empty()).then(|| object + "}")
}
