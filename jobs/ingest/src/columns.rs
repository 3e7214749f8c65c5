//! Whether a file's columns are the source's: found at acceptance, before anything is staged.

use tidemill_rows::{CREATED_AT, DELETED, SEQ, VALID_AT, text::json_fields};
use tidemill_spec::Source;

use crate::Error;

/// Columns of Tidemill's own, which every table of the lake has and no source may declare.
pub(crate) const OWN_COLUMNS: [&str; 4] = [VALID_AT, CREATED_AT, SEQ, DELETED];

/// Whether these are the columns of an export of a source: then Tidemill's own are left out, for the rows are accepted
/// anew. One or two of the names may mean anything, and are refused.
pub(crate) fn is_export<'a>(columns: impl IntoIterator<Item = &'a String>, source: &Source) -> bool {
    let own = columns.into_iter().filter(|name| OWN_COLUMNS.contains(&name.as_str()));
    let own: std::collections::BTreeSet<&String> =
        own.filter(|name| !source.columns.contains_key(*name)).collect();
    own.len() == OWN_COLUMNS.len()
}

/// Every column of the file must be declared, once; every declared one must be there unless it may be null.
pub(crate) fn check_header(header: &[String], source: &Source) -> Result<(), Error> {
    let mut wrong = Vec::new();
    let export = is_export(header, source);
    for (place, name) in header.iter().enumerate() {
        if header[..place].contains(name) {
            wrong.push(format!("column `{name}` occurs twice"));
        } else if !(source.columns.contains_key(name) || export && OWN_COLUMNS.contains(&name.as_str())) {
            wrong.push(unknown(name, source));
        }
    }
    for (name, column) in &source.columns {
        if !column.nullable && !header.contains(name) {
            wrong.push(format!("column `{name}` is missing"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(columns_differ(wrong, source)) }
}

/// The first line of a JSONL file tells its keys; a line that is no object is that row's fault alone.
pub(crate) fn check_first_object(line: &[u8], source: &Source) -> Result<(), Error> {
    let Ok(object) = json_fields(line) else { return Ok(()) };
    let export = is_export(object.keys(), source);
    let names = object.keys().filter(|name| {
        !(source.columns.contains_key(*name) || export && OWN_COLUMNS.contains(&name.as_str()))
    });
    let mut wrong: Vec<_> = names.map(|name| unknown(name, source)).collect();
    let missing =
        source.columns.iter().filter(|(name, column)| !column.nullable && !object.contains_key(*name));
    wrong.extend(missing.map(|(name, _)| format!("column `{name}` is missing")));
    if wrong.is_empty() { Ok(()) } else { Err(columns_differ(wrong, source)) }
}

fn unknown(name: &str, source: &Source) -> String {
    match nearest(name, source.columns.keys()) {
        Some(near) => format!("column `{name}` is unknown, did you mean `{near}`?"),
        None => format!("column `{name}` is unknown"),
    }
}

fn columns_differ(wrong: Vec<String>, source: &Source) -> Error {
    Error::Columns {
        source_name: source.name.clone(),
        wrong,
        declared: source.columns.keys().cloned().collect(),
    }
}

/// The nearest of some words, if it is near enough to be meant.
pub(crate) fn nearest<'a>(word: &str, words: impl Iterator<Item = &'a String>) -> Option<&'a str> {
    let distance = |other: &&String| strsim::damerau_levenshtein(word, other);
    let near = words.min_by_key(distance)?;
    (distance(&near) <= 1 + word.chars().count().min(near.chars().count()) / 4).then_some(near)
}
