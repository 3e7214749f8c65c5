//! Reads the tree: each question either has its answer, or was reported at its place.
//!
//! A field is known once it was asked for; what is left at the end is unknown, and the names that were asked for
//! are what a typo is compared with. So the code that reads an object is also the list of its fields.

mod at;

use crate::diagnostic::closest;

pub(crate) use at::At;

/// The fields of one map, while they are read.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    /// The map.
    pub at: At<'a>,
    of: String,
    left: Vec<(String, At<'a>)>,
    asked: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// Names the thing anew, once its name is known.
    pub(crate) fn of(mut self, of: String) -> Self {
        self.of = of;
        self
    }

    /// A field that may be missing. `key:` without a value counts as missing.
    pub(crate) fn get(&mut self, name: &'static str) -> Option<At<'a>> {
        self.asked.push(name);
        let index = self.left.iter().position(|(key, _)| key == name)?;
        Some(self.left.remove(index).1).filter(|at| !at.node.is_null())
    }

    /// A field that must be there.
    pub(crate) fn need(&mut self, name: &'static str) -> Option<At<'a>> {
        let found = self.get(name);
        if found.is_none() {
            // A typo of this very field is said once, as the unknown field.
            let typo = self.left.iter().any(|(key, _)| closest(key, &[name]).is_some());
            if !typo {
                self.at.key_error(
                    204,
                    format!("{} has no `{name}`", self.of),
                    &format!("`{name}` is missing"),
                );
            }
        }
        found
    }

    /// A field of a later version: not among those that are offered.
    pub(crate) fn later(&mut self, name: &'static str) {
        let found = self.get(name);
        self.asked.pop();
        if let Some(at) = found {
            at.key_error(210, format!("`{name}` in {} is not supported yet", self.of), "")
                .help("leave it out; nothing would happen if it were read");
        }
    }

    /// Which of these fields are there; they are known by now, but not consumed.
    pub(crate) fn present(&mut self, names: &[&'static str]) -> Vec<&'static str> {
        self.asked.extend(names);
        names.iter().copied().filter(|name| self.left.iter().any(|(key, _)| key == name)).collect()
    }

    /// Reports what nobody asked for.
    pub(crate) fn finish(mut self) {
        // In the order in which they were asked for, which is the one that people declare them in.
        let asked: indexmap::IndexSet<&'static str> = std::mem::take(&mut self.asked).into_iter().collect();
        let asked: Vec<&str> = asked.into_iter().collect();
        for (key, at) in &self.left {
            let said = closest(key, &asked).map(|near| format!("did you mean `{near}`?")).unwrap_or_default();
            let draft = at.key_error(201, format!("unknown field `{key}` in {}", self.of), &said);
            if at.node.is_null() && !valid_name(key) {
                draft.help("a comma inside `{ }` begins another field: put text that has one in quotes");
            } else if said.is_empty() {
                draft.help(format!("its fields are {}", list(&asked)));
            }
        }
    }
}

/// Whether text may name an object, a column, a feature or a step.
pub(crate) fn valid_name(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// `` `a`, `b`, `c` ``.
pub(crate) fn list<T: AsRef<str>>(words: &[T]) -> String {
    words.iter().map(|word| format!("`{}`", word.as_ref())).collect::<Vec<_>>().join(", ")
}

/// `an int`, `a float`.
pub(crate) fn with_article(word: &str) -> String {
    let article = if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {word}")
}
