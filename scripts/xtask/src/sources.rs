//! What must not be said where, looked for in the sources themselves.

use std::{fs, path::Path};

use anyhow::Context as _;

/// Folders of crates that know nothing of the domain.
const ENGINE: &[&str] = &["blobs", "core", "runtime", "store", "telemetry"];
/// Words of the domain.
const DOMAIN: &[&str] =
    &["duckdb", "feature", "features", "kafka", "lightgbm", "model", "models", "python", "redis", "valkey"];
/// Folders that may hold SQL.
const SQL: &[&str] = &["engine/store", "jobs/catalog", "jobs/expressions", "jobs/offline"];

/// Every breach, as a line for people.
pub(crate) fn check() -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    for name in ENGINE {
        for (path, text) in files(&Path::new("engine").join(name).join("src"), "rs")? {
            wrong.extend(domain(&text).into_iter().map(|word| format!("{path} names `{word}`")));
        }
    }
    for (path, text) in files(Path::new("engine/runtime/src"), "rs")? {
        wrong.extend(apalis(&text).into_iter().map(|line| format!("{path} shows a type of apalis: {line}")));
    }
    for folder in ["engine", "jobs", "workers"] {
        for (path, _) in files(Path::new(folder), "sql")? {
            if !SQL.iter().any(|home| path.starts_with(&format!("{home}/"))) {
                wrong.push(format!("{path} is SQL outside {}", SQL.join(", ")));
            }
        }
    }
    Ok(wrong)
}

/// Words of the domain that product code says. Comments may explain by example.
fn domain(text: &str) -> Vec<&str> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let said = code.flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric()));
    said.filter(|word| DOMAIN.contains(&word.to_ascii_lowercase().as_str())).collect()
}

/// Public declarations that name what the file imports from apalis.
fn apalis(text: &str) -> Vec<&str> {
    let imports = text.split("use ").skip(1).filter_map(|rest| rest.split(';').next());
    let imports = imports.filter(|import| import.starts_with("apalis"));
    // Of `a::B as C` the name is C.
    let named: Vec<&str> = imports
        .flat_map(|import| import.split([',', '{', '}']))
        .filter_map(|item| words(item.trim()).last())
        .filter(|word| word.starts_with(char::is_uppercase))
        .collect();
    let shows = |line: &&str| words(line).any(|word| word.starts_with("apalis") || named.contains(&word));
    text.lines().map(str::trim).filter(|line| line.starts_with("pub ")).filter(shows).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// Files below a folder whose names end so, with their text.
pub(crate) fn files(folder: &Path, extension: &str) -> anyhow::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ends| ends == extension) {
                let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
                found.push((path.display().to_string(), text));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_s_code_may_not_name_the_domain_but_its_comments_may() {
        assert_eq!(domain("// as `features.update` does\nlet clock = 1;"), Vec::<&str>::new());
        assert_eq!(domain("struct Redis;\n#[cfg(test)]\nlet model = 1;"), ["Redis"]);
    }

    #[test]
    fn a_public_signature_may_not_show_what_apalis_exports() {
        let text = "use apalis_core::{\n    task::Task,\n    error::WorkerError as ApalisError,\n};\n\
                    pub(crate) struct Inner(Task);\npub struct Shown(Task);\npub fn run() -> ApalisError {}\n";
        assert_eq!(apalis(text), ["pub struct Shown(Task);", "pub fn run() -> ApalisError {}"]);
        assert!(apalis("use apalis::Error as Inner;\\npub enum Error {}\\n").is_empty());
        assert!(apalis("pub struct Task;\n").is_empty());
    }
}
