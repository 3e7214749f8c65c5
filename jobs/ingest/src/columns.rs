//! Which column of its source each name of a file stands for, found at acceptance, before anything is staged.

use tidemill_rows::{
    CREATED_AT, DELETED, SEQ, VALID_AT,
    text::{Cell, json_fields},
};
use tidemill_spec::{Column, Extra, Source};

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
    /// It is an object, within which a column may be found by a path: `user.id`.
    nested: bool,
}

impl<'s> Naming<'s> {
    /// Of what has these names. One or two of Tidemill's own may mean anything; all of them beside all that is needed are
    /// an export.
    pub(crate) fn of(source: &'s Source, has: impl Fn(&str) -> bool) -> Self {
        let mut needed = source.columns.iter().filter(|(_, column)| !column.nullable);
        let export = OWN_COLUMNS.into_iter().all(&has) && needed.all(|(name, _)| has(name));
        Self { source, export, nested: false }
    }

    /// Of a line of JSON.
    pub(crate) fn of_object(source: &'s Source, has: impl Fn(&str) -> bool) -> Self {
        Self { nested: true, ..Self::of(source, has) }
    }

    /// Of a file with a header.
    pub(crate) fn of_header(source: &'s Source, header: &[String]) -> Self {
        Self::of(source, |name| header.iter().any(|column| column == name))
    }

    /// The name in the file of each column, in the source's order; none for the column of what is kept beyond them.
    pub(crate) fn names(self) -> impl Iterator<Item = Option<&'s str>> {
        self.source.columns.iter().map(move |(name, column)| {
            let kept = Some(name.as_str()) == self.source.kept();
            if self.export { Some(name.as_str()) } else { (!kept).then(|| column.in_files(name)) }
        })
    }

    /// Names of a header that are no column's, in order.
    pub(crate) fn extra(self, header: &[String]) -> Vec<&str> {
        let mut extra: Vec<_> =
            header.iter().map(String::as_str).filter(|name| self.is_extra(name)).collect();
        extra.sort_unstable();
        extra
    }

    /// Whether a name in the file is one of Tidemill's own, which means nothing here.
    pub(crate) fn own(self, name: &str) -> bool {
        self.export && OWN_COLUMNS.contains(&name)
    }

    /// Whether a column is found within the object of that name.
    pub(crate) fn holds(self, name: &str) -> bool {
        let within = |in_file: &str| in_file.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
        self.nested && self.names().flatten().any(within)
    }

    fn is_extra(self, name: &str) -> bool {
        !self.own(name) && self.names().all(|in_file| in_file != Some(name)) && !self.holds(name)
    }

    /// Whether something of these names has a column, or an object that may.
    fn found(self, names: &[&str], in_file: &str) -> bool {
        let first = in_file.split_once('.').filter(|_| self.nested).map(|(first, _)| first);
        names.contains(&in_file) || first.is_some_and(|first| names.contains(&first))
    }

    /// Every column must be there unless it may be null; nothing else must be, where the source says so. What differs from
    /// a column by capitals or marks alone is that column: ignored, all its values would be missing.
    fn differences(self, names: &[&str]) -> Vec<String> {
        let columns = self.source.columns.iter().zip(self.names());
        let missing: Vec<String> = columns
            .filter(|((_, column), in_file)| {
                !column.nullable && !in_file.is_some_and(|name| self.found(names, name))
            })
            .map(|((name, column), _)| format!("column {} is missing", column.told(name)))
            .collect();
        let meant = |name: &str| self.alike(name).is_some_and(|in_file| !names.contains(&in_file));
        // What is ignored otherwise may be what is missing.
        let refused = self.source.extra == Extra::Reject || !missing.is_empty();
        let extra = names.iter().filter(|name| self.is_extra(name) && (refused || meant(name)));
        extra.map(|name| self.unknown(name)).chain(missing).collect()
    }

    /// What files call the column of that name, here or in files, but for capitals and marks.
    fn alike(self, name: &str) -> Option<&'s str> {
        let wanted = letters(name);
        let columns = self.source.columns.keys().zip(self.names());
        let mut alike = columns.filter_map(|(declared, in_file)| {
            let is_it = letters(declared) == wanted || letters(in_file?) == wanted;
            in_file.filter(|_| is_it && !wanted.is_empty())
        });
        alike.next()
    }

    fn unknown(self, name: &str) -> String {
        match self.alike(name).or_else(|| nearest(name, self.names().flatten())) {
            Some(near) => format!("column `{name}` is unknown, did you mean `{near}`?"),
            None => format!("column `{name}` is unknown"),
        }
    }
}

/// A name without what people write otherwise each time.
fn letters(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The names of a file's columns must be the source's, each once; what is ignored may be there as often as it likes.
pub(crate) fn check_header(header: &[String], source: &Source) -> Result<(), Error> {
    let naming = Naming::of_header(source, header);
    let mut names: Vec<&str> = Vec::new();
    let mut wrong = Vec::new();
    for name in header {
        let again = names.contains(&name.as_str());
        if again && (source.extra != Extra::Ignore || !naming.is_extra(name)) {
            wrong.push(format!("column `{name}` occurs twice"));
        } else if !again {
            names.push(name);
        }
    }
    wrong.extend(naming.differences(&names));
    if wrong.is_empty() { Ok(()) } else { Err(columns_differ(wrong, source)) }
}

/// The first line of a JSONL file tells its keys; a line that is no object is that row's fault alone.
pub(crate) fn check_first_object(line: &[u8], source: &Source) -> Result<(), Error> {
    let Ok(object) = json_fields(line) else { return Ok(()) };
    let names: Vec<&str> = object.keys().map(String::as_str).collect();
    let naming = Naming::of_object(source, |name| object.contains_key(name));
    let mut wrong = naming.differences(&names);
    if wrong.is_empty() {
        return Ok(());
    }
    let cells = object.iter().filter_map(|(key, cell)| Some((key.as_str(), cell.as_ref()?)));
    wrong.extend(paths(&cells.collect::<Vec<_>>(), &names, naming));
    Err(columns_differ(wrong, source))
}

/// Where objects within a line hold what columns are missing.
fn paths(cells: &[(&str, &Cell)], names: &[&str], naming: Naming<'_>) -> Vec<String> {
    let objects = cells.iter().filter(|(_, cell)| !cell.quoted && cell.text.starts_with('{'));
    let nested: Vec<String> = objects
        .filter_map(|(key, cell)| Some((key, json_fields(cell.text.as_bytes()).ok()?)))
        .flat_map(|(key, inner)| inner.into_keys().map(move |name| format!("{key}.{name}")))
        .collect();
    let missing = naming.source.columns.iter().zip(naming.names());
    let missing = missing.filter(|(_, in_file)| in_file.is_some_and(|name| !names.contains(&name)));
    let path = |((name, column), _): ((&String, &Column), _)| {
        let ends = |path: &&String| {
            let (_, last) = path.split_once('.').unwrap_or_default();
            [last, path.as_str()].into_iter().any(|text| letters(text) == letters(name))
        };
        let path = nested.iter().find(ends)?;
        Some(format!("`{path}` is there: declare `{name}: {{ from: {path}, type: {} }}`", column.ty))
    };
    missing.filter_map(path).collect()
}

/// Differences that are told at most: what is no header at all has as many as it likes.
const TOLD_MAX: usize = 20;

fn columns_differ(mut wrong: Vec<String>, source: &Source) -> Error {
    if let Some(more) = wrong.len().checked_sub(TOLD_MAX).filter(|more| *more > 0) {
        wrong.truncate(TOLD_MAX);
        wrong.push(format!("and {more} more"));
    }
    let declared = source.columns.iter().filter(|(name, _)| Some(name.as_str()) != source.kept());
    Error::Columns {
        whose: "the file's",
        source_name: source.name.clone(),
        wrong,
        declared: declared.map(|(name, column)| column.told(name)).collect(),
    }
}

/// The nearest of some words, if it is near enough to be meant.
pub(crate) fn nearest<'a>(word: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |other: &&str| strsim::damerau_levenshtein(word, other);
    let near = words.min_by_key(distance)?;
    (distance(&near) <= 1 + word.chars().count().min(near.chars().count()) / 4).then_some(near)
}
