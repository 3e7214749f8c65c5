//! Circles between the modules of a crate: whoever reads one module of a circle has to read them all.
//!
//! A module is a file of a crate's `src` with the folder of its name. It names another one by `crate::`; what it names of the
//! crate's own face is nobody's. Tests may name whatever they like.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use crate::sources::files;

/// Folders of crates.
const CRATES: [&str; 3] = ["engine", "jobs", "workers"];

/// Every circle, as a line for people.
pub(crate) fn check() -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for folder in CRATES {
        for entry in std::fs::read_dir(folder)? {
            let sources = entry?.path().join("src");
            if !sources.is_dir() {
                continue;
            }
            let modules = modules(&sources)?;
            found.extend(circles(&modules).into_iter().map(|circle| {
                format!(
                    "{}: {} name one another",
                    sources.display(),
                    circle.into_iter().collect::<Vec<_>>().join(", ")
                )
            }));
        }
    }
    found.sort();
    Ok(found)
}

/// Of each module of a crate those that it names.
fn modules(sources: &Path) -> anyhow::Result<BTreeMap<String, BTreeSet<String>>> {
    let texts = files(sources, "rs")?;
    let module = |path: &str| {
        let inside = Path::new(path).strip_prefix(sources).ok()?.iter().next()?.to_str()?;
        Some(inside.trim_end_matches(".rs").to_owned()).filter(|name| name != "lib" && name != "main")
    };
    let known: BTreeSet<String> = texts.iter().filter_map(|(path, _)| module(path)).collect();
    let mut named: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in &texts {
        let Some(module) = module(path).filter(|_| !path.ends_with("tests.rs")) else { continue };
        let others = names(text).into_iter().filter(|name| known.contains(name) && *name != module);
        named.entry(module.clone()).or_default().extend(others);
    }
    Ok(named)
}

/// What a file names after `crate::`.
fn names(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let code: String =
        code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut names = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let Some(list) = rest.strip_prefix('{') else {
            names.insert(word(rest));
            continue;
        };
        let (mut depth, mut item) = (1, String::new());
        for c in list.chars() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 || (depth == 1 && c == ',') {
                names.insert(word(item.trim()));
                item.clear();
            } else {
                item.push(c);
            }
            if depth == 0 {
                break;
            }
        }
    }
    names.remove("");
    names
}

/// Modules that each reach the others, as sets.
fn circles(named: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<BTreeSet<String>> {
    let reached = |from: &String| {
        let (mut seen, mut left) = (BTreeSet::new(), vec![from]);
        while let Some(module) = left.pop() {
            left.extend(
                named.get(module).into_iter().flatten().filter(|other| seen.insert((*other).clone())),
            );
        }
        seen
    };
    let reach: BTreeMap<&String, BTreeSet<String>> =
        named.keys().map(|module| (module, reached(module))).collect();
    let circle = |module: &String| {
        let mutual =
            reach[module].iter().filter(|other| reach.get(other).is_some_and(|back| back.contains(module)));
        mutual.cloned().collect::<BTreeSet<_>>()
    };
    named.keys().map(circle).filter(|circle| !circle.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_names_is_read_from_lists_and_paths_but_not_from_tests() {
        let text = "use crate::{\n    Error,\n    read::{self, Read},\n};\n// crate::not_this\nlet x = crate::lake::open();\n\
                    #[cfg(test)]\nmod tests {\n    use crate::world;\n}\n";
        assert_eq!(names(text).into_iter().collect::<Vec<_>>(), ["Error", "lake", "read"]);
    }

    #[test]
    fn modules_that_reach_each_other_are_one_circle() {
        let named = |pairs: &[(&str, &[&str])]| {
            pairs
                .iter()
                .map(|(name, others)| {
                    ((*name).to_owned(), others.iter().map(|other| (*other).to_owned()).collect())
                })
                .collect()
        };
        let of = |circles: BTreeSet<BTreeSet<String>>| {
            circles
                .into_iter()
                .map(|circle| circle.into_iter().collect::<Vec<_>>().join(" "))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            of(circles(&named(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])]))),
            Vec::<String>::new()
        );
        let three = named(&[("a", &["b"]), ("b", &["c"]), ("c", &["a"]), ("d", &["a", "e"]), ("e", &["d"])]);
        assert_eq!(of(circles(&three)), ["a b c", "d e"]);
    }
}
