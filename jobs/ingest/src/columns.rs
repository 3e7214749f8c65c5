//! Which column of its source each name of a file stands for, found at acceptance, before anything is staged.

use tidemill_rows::{CREATED_AT, DELETED, SEQ, VALID_AT, text::json_fields};
use tidemill_spec::{Column, Source};

use crate::Error;

/// Columns of Tidemill's own, which every table of the lake has and no source may declare.
const OWN_COLUMNS: [&str; 4] = [VALID_AT, CREATED_AT, SEQ, DELETED];

/// What a file, or a line of JSON, calls the columns of its source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Naming<'s> {
    source: &'s Source,
    /// It is an export of the source: columns have their declared names, and Tidemill's own are left out, for the rows are
    /// accepted anew.
    export: bool,
}

impl<'s> Naming<'s> {
    /// Of what has these names. One or two of Tidemill's own may mean anything; all of them beside all that is needed are
    /// an export.
    pub(crate) fn of(source: &'s Source, has: impl Fn(&str) -> bool) -> Self {
        let mut needed = source.columns.iter().filter(|(_, column)| !column.nullable);
        let export = OWN_COLUMNS.into_iter().all(&has) && needed.all(|(name, _)| has(name));
        Self { source, export }
    }

    /// Declared name, name in the file, and declaration of each column, in the source's order.
    pub(crate) fn columns(self) -> impl Iterator<Item = (&'s String, &'s str, &'s Column)> {
        self.source.columns.iter().map(move |(name, column)| {
            let in_file = if self.export { name } else { column.in_files(name) };
            (name, in_file, column)
        })
    }

    /// Whether a name in the file is one of Tidemill's own, which means nothing here.
    pub(crate) fn own(self, name: &str) -> bool {
        self.export && OWN_COLUMNS.contains(&name)
    }

    /// Every name must be that of a column; every column must be there unless it may be null.
    fn differences(self, names: &[&str]) -> Vec<String> {
        let known = |name: &str| self.columns().any(|(_, in_file, _)| in_file == name) || self.own(name);
        let unknown = names.iter().filter(|name| !known(name)).map(|name| self.unknown(name));
        let missing =
            self.columns().filter(|(_, in_file, column)| !column.nullable && !names.contains(in_file));
        unknown
            .chain(missing.map(|(name, _, column)| format!("column {} is missing", column.told(name))))
            .collect()
    }

    fn unknown(self, name: &str) -> String {
        match nearest(name, self.columns().map(|(_, in_file, _)| in_file)) {
            Some(near) => format!("column `{name}` is unknown, did you mean `{near}`?"),
            None => format!("column `{name}` is unknown"),
        }
    }
}

/// The names of a file's columns must be the source's, each once.
pub(crate) fn check_header(header: &[String], source: &Source) -> Result<(), Error> {
    let mut names: Vec<&str> = Vec::new();
    let mut wrong = Vec::new();
    for name in header {
        match names.contains(&name.as_str()) {
            true => wrong.push(format!("column `{name}` occurs twice")),
            false => names.push(name),
        }
    }
    wrong.extend(Naming::of(source, |name| names.contains(&name)).differences(&names));
    if wrong.is_empty() { Ok(()) } else { Err(columns_differ(wrong, source)) }
}

/// The first line of a JSONL file tells its keys; a line that is no object is that row's fault alone.
pub(crate) fn check_first_object(line: &[u8], source: &Source) -> Result<(), Error> {
    let Ok(object) = json_fields(line) else { return Ok(()) };
    let names: Vec<&str> = object.keys().map(String::as_str).collect();
    let wrong = Naming::of(source, |name| object.contains_key(name)).differences(&names);
    if wrong.is_empty() { Ok(()) } else { Err(columns_differ(wrong, source)) }
}

fn columns_differ(wrong: Vec<String>, source: &Source) -> Error {
    Error::Columns {
        source_name: source.name.clone(),
        wrong,
        declared: source.columns.iter().map(|(name, column)| column.told(name)).collect(),
    }
}

/// The nearest of some words, if it is near enough to be meant.
pub(crate) fn nearest<'a>(word: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |other: &&str| strsim::damerau_levenshtein(word, other);
    let near = words.min_by_key(distance)?;
    (distance(&near) <= 1 + word.chars().count().min(near.chars().count()) / 4).then_some(near)
}
