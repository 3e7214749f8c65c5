//! Every error code that the program can print has a page, and every page is of a code that it can print.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

use std::{collections::BTreeSet, fs, path::Path};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Every Rust file below a folder that is not a test's.
fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !matches!(name.as_str(), "tests" | "testkit" | "python" | "target") {
                sources(&path, found);
            }
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push(text.split("#[cfg(test)]").next().unwrap_or_default().to_owned());
        }
    }
}

/// Whole numbers that stand alone in a text.
fn numbers(text: &str) -> BTreeSet<u16> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.');
    words.filter(|word| matches!(word.len(), 3 | 4)).filter_map(|word| word.parse().ok()).collect()
}

fn pages() -> BTreeSet<u16> {
    let pages = fs::read_dir(root().join("docs/errors")).unwrap();
    let code =
        |path: fs::DirEntry| path.file_name().to_string_lossy().strip_prefix("TM")?.get(..4)?.parse().ok();
    pages.filter_map(|page| code(page.unwrap())).collect()
}

#[test]
fn every_code_that_is_given_to_a_fault_has_a_page() {
    let (mut texts, pages) = (Vec::new(), pages());
    ["engine", "jobs", "workers"].iter().for_each(|folder| sources(&root().join(folder), &mut texts));
    let mut given = BTreeSet::new();
    for text in &texts {
        for begin in ["coded(", "Code(", "unknown("] {
            for after in text.split(begin).skip(1) {
                let digits: String = after.trim_start().chars().take_while(char::is_ascii_digit).collect();
                given.extend(digits.parse::<u16>());
            }
        }
    }
    assert!(given.len() > 60, "codes are found at all: {given:?}");
    let without: Vec<_> = given.difference(&pages).collect();
    assert!(without.is_empty(), "no page in docs/errors for {without:?}");
}

#[test]
fn every_page_is_of_a_code_that_the_program_knows() {
    let mut texts = Vec::new();
    ["engine", "jobs", "workers"].iter().for_each(|folder| sources(&root().join(folder), &mut texts));
    let known: BTreeSet<u16> = texts.iter().flat_map(|text| numbers(text)).collect();
    let unknown: Vec<u16> = pages().difference(&known).copied().collect();
    assert!(unknown.is_empty(), "nothing prints {unknown:?}");
}

#[test]
fn every_page_begins_with_its_code_and_says_how_to_fix_it() {
    for code in pages() {
        let page = fs::read_to_string(root().join(format!("docs/errors/TM{code:04}.md"))).unwrap();
        assert!(page.starts_with(&format!("# TM{code:04}: ")), "TM{code:04}");
        assert!(page.contains("Fix"), "TM{code:04} says how to fix it");
    }
}
