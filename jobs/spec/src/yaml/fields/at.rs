//! One value of the tree: what it is where a type is wanted, and what is said where it isn't.

use std::time::Duration;

use tidemill_core::Time;

use super::{Fields, list, valid_name, with_article};
use crate::{
    Type, Value,
    diagnostic::{Draft, Report, closest},
    ty::NoType,
    units, value,
    yaml::{Data, Entry, Node, Span, parse_float, parse_int, quoting::BLOT},
};

/// One value, with all that a message about it needs.
#[derive(Clone, Debug)]
pub(crate) struct At<'a> {
    pub node: &'a Node,
    /// Of the key, where it has one.
    pub key_span: Span,
    /// Within the document: `steps.train.retry`.
    pub path: String,
    pub file: &'a str,
    pub report: &'a Report,
}

impl<'a> At<'a> {
    /// The root of a document.
    pub(crate) fn root(node: &'a Node, file: &'a str, report: &'a Report) -> Self {
        Self { node, key_span: node.span, path: String::new(), file, report }
    }

    /// The value that a path leads to; where it ends early, the last one that is there.
    pub(crate) fn find(&self, path: &[&str]) -> Self {
        let mut at = self.clone();
        for step in path {
            let next = match &at.node.data {
                Data::Map(_) => at.node.get(step).map(|entry| at.below(entry)),
                Data::List(items) => {
                    step.parse::<usize>().ok().and_then(|index| Some(at.item(index, items.get(index)?)))
                }
                Data::Scalar { .. } => None,
            };
            match next {
                Some(next) => at = next,
                None => break,
            }
        }
        at
    }

    fn below(&self, entry: &'a Entry) -> Self {
        let path =
            if self.path.is_empty() { entry.key.clone() } else { format!("{}.{}", self.path, entry.key) };
        Self { node: &entry.value, key_span: entry.key_span, path, ..self.clone() }
    }

    fn item(&self, index: usize, node: &'a Node) -> Self {
        Self { node, key_span: node.span, path: format!("{}[{index}]", self.path), ..self.clone() }
    }

    /// A mistake at a part of the text: `length` characters after `offset`.
    pub(crate) fn error_within(
        &self,
        code: u16,
        message: impl Into<String>,
        said: &str,
        (offset, length): (usize, usize),
    ) -> Draft<'a> {
        let span = match &self.node.data {
            // Escapes and folded lines shift what follows; then the whole text is underlined.
            Data::Scalar { text, plain }
                if self.node.span.length == text.chars().count() + 2 * usize::from(!plain) =>
            {
                let column = self.node.span.column + usize::from(!plain) + offset;
                Span { column, length, ..self.node.span }
            }
            _ => self.node.span,
        };
        self.report.error(code, message).at(self.file, span, said).path(&self.path)
    }

    /// Where a word stands in the text: offset and length in characters; the whole where it isn't found.
    pub(crate) fn word(&self, word: &str) -> (usize, usize) {
        let Data::Scalar { text, .. } = &self.node.data else { return (0, 1) };
        let lower = text.to_lowercase();
        let boundary = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_');
        let whole = |(start, _): &(usize, &str)| {
            boundary(lower[..*start].chars().next_back())
                && boundary(lower[start + word.len()..].chars().next())
        };
        match lower.match_indices(word).find(whole) {
            Some((start, _)) => (lower[..start].chars().count(), word.chars().count()),
            None => (0, text.chars().count()),
        }
    }

    /// A mistake in the value.
    pub(crate) fn error(&self, code: u16, message: impl Into<String>) -> Draft<'a> {
        self.error_saying(code, message, "")
    }

    /// A mistake in the value, with a word below the underline.
    pub(crate) fn error_saying(&self, code: u16, message: impl Into<String>, said: &str) -> Draft<'a> {
        // A list or map begins where its first key stands; its own key says more.
        let span = match self.node.data {
            Data::Scalar { .. } if !self.node.is_null() => self.node.span,
            _ => self.key_span,
        };
        self.report.error(code, message).at(self.file, span, said).path(&self.path)
    }

    /// A mistake in the key.
    pub(crate) fn key_error(&self, code: u16, message: impl Into<String>, said: &str) -> Draft<'a> {
        self.report.error(code, message).at(self.file, self.key_span, said).path(&self.path)
    }

    /// The name of a thing among those that exist; a miss is reported with the nearest.
    pub(crate) fn unknown<'n>(
        &self,
        code: u16,
        message: impl Into<String>,
        name: &str,
        known: impl IntoIterator<Item = &'n str>,
    ) {
        let known: Vec<&str> = known.into_iter().collect();
        match closest(name, &known) {
            Some(near) => drop(self.error_saying(code, message, &format!("did you mean `{near}`?"))),
            None if known.is_empty() => drop(self.error(code, message)),
            None => drop(self.error(code, message).help(format!("there are {}", list(&known)))),
        }
    }

    fn wrong(&self, expected: &str) {
        self.error(208, format!("expected {expected}, got {}", self.node.describe()));
    }

    /// Whether an expression was blotted out here; it was reported, and nothing more can be said.
    pub(crate) fn blotted(&self) -> bool {
        matches!(&self.node.data, Data::Scalar { text, .. } if text.contains(BLOT))
    }

    /// A scalar as written; `None` without a report where it was blotted out.
    fn scalar(&self, expected: &str) -> Option<(&'a str, bool)> {
        match &self.node.data {
            _ if self.blotted() => None,
            Data::Scalar { text, plain } if !self.node.is_null() => Some((text, *plain)),
            _ => {
                self.wrong(expected);
                None
            }
        }
    }

    /// The field's own name.
    fn field(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or_default()
    }

    /// Text, quoted or not.
    pub(crate) fn text(&self) -> Option<String> {
        self.scalar("text").map(|(text, _)| text.to_owned())
    }

    /// A name: lower case, digits and underscores, beginning with a letter.
    pub(crate) fn name(&self) -> Option<String> {
        let text = self.text()?;
        if valid_name(&text) {
            return Some(text);
        }
        self.error(209, format!("`{text}` is not a name"))
            .help("names have lower-case letters, digits and underscores, begin with a letter, and are at most 63 long");
        None
    }

    /// `true` or `false`.
    pub(crate) fn bool(&self) -> Option<bool> {
        match self.scalar("`true` or `false`")? {
            ("true", true) => Some(true),
            ("false", true) => Some(false),
            _ => {
                self.wrong("`true` or `false`");
                None
            }
        }
    }

    fn parsed<T>(&self, expected: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let (text, plain) = self.scalar(expected)?;
        let value = if plain { parse(text) } else { None };
        if value.is_none() {
            self.wrong(expected);
        }
        value
    }

    /// A whole number within bounds.
    pub(crate) fn int(&self, least: i64, greatest: i64) -> Option<i64> {
        let number = self.parsed("a whole number", parse_int)?;
        if (least..=greatest).contains(&number) {
            return Some(number);
        }
        let bounds =
            if greatest == i64::MAX { format!("at least {least}") } else { format!("{least} to {greatest}") };
        self.error(209, format!("{number} is out of range: {bounds}"));
        None
    }

    /// A finite number, at least `least`.
    pub(crate) fn float(&self, least: f64) -> Option<f64> {
        self.float_within(least, f64::MAX)
    }

    /// A finite number within bounds.
    pub(crate) fn float_within(&self, least: f64, greatest: f64) -> Option<f64> {
        let number = self.parsed("a number", parse_float)?;
        if (least..=greatest).contains(&number) {
            return Some(number);
        }
        let bounds =
            if greatest == f64::MAX { format!("at least {least}") } else { format!("{least} to {greatest}") };
        self.error(209, format!("{number} is out of range: {bounds}"));
        None
    }

    /// `30s`, `15m`, `2h`, `7d`.
    pub(crate) fn duration(&self) -> Option<Duration> {
        let (text, _) = self.scalar("a duration such as `30s`, `2h` or `7d`")?;
        let duration = units::parse_duration(text);
        if duration.is_some_and(|duration| duration.is_zero()) {
            self.error(209, format!("`{}` must be above 0", self.field()))
                .help("where it may be missing, leave it out for no limit");
            return None;
        }
        if duration.is_none() {
            self.wrong("a duration such as `30s`, `2h` or `7d`");
        }
        duration
    }

    /// `512MiB`, `2GiB`.
    pub(crate) fn size(&self) -> Option<u64> {
        let (text, _) = self.scalar("a size such as `2GiB`")?;
        let size = units::parse_size(text).filter(|size| *size > 0);
        if size.is_none() {
            self.wrong("a size such as `2GiB`");
        }
        size
    }

    /// An instant.
    pub(crate) fn time(&self) -> Option<Time> {
        let (text, _) = self.scalar("an instant such as \"2013-06-01T00:00:00Z\"")?;
        let time = value::parse_time(text);
        if time.is_none() {
            self.wrong("an instant such as \"2013-06-01T00:00:00Z\"");
        }
        time
    }

    /// One of the column types.
    pub(crate) fn ty(&self) -> Option<Type> {
        let (text, _) = self.scalar("a type")?;
        let why = match text.parse() {
            Ok(ty) => return Some(ty),
            Err(NoType(why)) => why,
        };
        if matches!(text, "class" | "vector") {
            self.error(209, format!("`{text}` is not a type here"))
                .help("only outputs of a model are classes or vectors");
        } else if text.starts_with("decimal") || text.contains('[') {
            self.error(209, format!("`{text}` is not a type: {why}"));
        } else {
            let known = Type::PLAIN.map(|ty| ty.to_string());
            let known = known.iter().map(String::as_str).chain(["decimal(12,2)", "float[64]", "string[]"]);
            self.unknown(209, format!("`{text}` is not a type"), text, known);
        }
        None
    }

    /// One of some words.
    pub(crate) fn choice(&self, choices: &[&'static str]) -> Option<&'static str> {
        let (text, _) = self.scalar(&list(choices))?;
        let choice = choices.iter().copied().find(|choice| *choice == text);
        if choice.is_none() {
            self.unknown(
                209,
                format!("`{text}` is not one of {}", list(choices)),
                text,
                choices.iter().copied(),
            );
        }
        choice
    }

    /// What one of some words stands for.
    pub(crate) fn meaning<T: Copy>(&self, words: &[(&'static str, T)]) -> Option<T> {
        let choices: Vec<&'static str> = words.iter().map(|(word, _)| *word).collect();
        let choice = self.choice(&choices)?;
        words.iter().find_map(|(word, meaning)| (*word == choice).then_some(*meaning))
    }

    /// A value of a declared type.
    pub(crate) fn value(&self, ty: Type) -> Option<Value> {
        let wanted = ty.to_string();
        if let Some(element) = ty.element() {
            let items: Option<Vec<Value>> = self.list()?.iter().map(|item| item.value(element)).collect();
            let list = Value::list(items?, ty);
            return list.map_err(|error| self.wrong(&format!("{wanted}, not {}", error.got))).ok();
        }
        if self.node.is_null() || self.blotted() {
            self.scalar(&wanted)?;
        }
        let (text, plain) = self.scalar(&wanted)?;
        let right = plain || !(ty.is_number() || ty == Type::Bool);
        let value = right.then(|| Value::parse(text, ty).ok()).flatten();
        if value.is_none() {
            self.wrong(&format!("{} value", with_article(&wanted)));
        }
        value
    }

    /// The items of a list.
    pub(crate) fn list(&self) -> Option<Vec<Self>> {
        match &self.node.data {
            Data::List(items) => {
                Some(items.iter().enumerate().map(|(index, node)| self.item(index, node)).collect())
            }
            _ if self.blotted() => None,
            _ => {
                self.wrong("a list");
                None
            }
        }
    }

    /// A list of names.
    pub(crate) fn names(&self) -> Option<Vec<String>> {
        Some(self.list()?.iter().filter_map(Self::name).collect())
    }

    /// The entries of a map whose keys are names of the user's choice.
    pub(crate) fn entries(&self) -> Option<Vec<(String, Self)>> {
        match &self.node.data {
            Data::Map(entries) => {
                Some(entries.iter().map(|entry| (entry.key.clone(), self.below(entry))).collect())
            }
            _ if self.blotted() => None,
            _ => {
                self.wrong("a map");
                None
            }
        }
    }

    /// The entries of a map; keys that are not names are reported and left out.
    pub(crate) fn named_entries(&self) -> Option<Vec<(String, Self)>> {
        let named = |(name, at): (String, Self)| {
            if valid_name(&name) {
                return Some((name, at));
            }
            at.key_error(209, format!("`{name}` is not a name"), "")
                .help("names have lower-case letters, digits and underscores, and begin with a letter");
            None
        };
        Some(self.entries()?.into_iter().filter_map(named).collect())
    }

    /// The fields of a map whose keys are ours; `of` names the thing, e.g. "step `train`".
    pub(crate) fn fields(&self, of: impl Into<String>) -> Option<Fields<'a>> {
        let left = self.entries()?;
        Some(Fields { at: self.clone(), of: of.into(), left, asked: Vec::new() })
    }
}
