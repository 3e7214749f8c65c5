//! Whether the user's functions are there: a static look at the project's files, nothing is run.

use super::World;
use crate::yaml::fields::At;

/// `sys.stdlib_module_names` of Python 3.11, the oldest that is supported.
const STDLIB: &str = include_str!("python/stdlib.txt");

/// `module:function` must be a file of the project that defines the function at its top level.
pub(super) fn entry(world: &World<'_>, at: &At<'_>, entry: &str) {
    let Some((module, function)) = entry.split_once(':') else { return };
    let package = module.split('.').next().unwrap_or(module);
    if taken(package) {
        let message = format!(
            "`{package}` is the name of a module of Python or Tidemill, which is found before the project's"
        );
        at.error_within(306, message, "", at.word(&package.to_lowercase()))
            .help(format!("rename the project's `{package}`, e.g. `my_{package}`, here too"));
        return;
    }
    let path = format!("{}.py", module.replace('.', "/"));
    let package = format!("{}/__init__.py", module.replace('.', "/"));
    let Some(file) = world.files.iter().find(|file| file.path == path || file.path == package) else {
        let known: Vec<String> = world.files.iter().filter_map(|file| module_of(&file.path)).collect();
        at.unknown(
            306,
            format!("there is no file `{path}` in the project"),
            module,
            known.iter().map(String::as_str),
        );
        return;
    };
    let defined: Vec<&str> = file.text.lines().flat_map(defined).collect();
    if !defined.contains(&function) {
        at.unknown(306, format!("`{}` defines no function `{function}`", file.path), function, defined);
    }
}

/// Whether `import` of a name gives another module than the project's. Files of such names may be there: a project is
/// more than its entries.
fn taken(package: &str) -> bool {
    // Python's tests are none of its listed modules, and these are imported before the project can be.
    ["test", "__main__", "pyarrow", "tidemill"].contains(&package)
        || STDLIB.split_whitespace().any(|module| module == package)
}

fn module_of(path: &str) -> Option<String> {
    let module = path.strip_suffix(".py")?;
    (!module.ends_with("__init__")).then(|| module.replace('/', "."))
}

/// The names that a top-level line defines: `def f(`, `async def f(`, `f = `, `from m import f, g as h`.
fn defined(line: &str) -> Vec<&str> {
    let line = line.strip_prefix("async ").unwrap_or(line);
    if let Some(rest) = line.strip_prefix("def ") {
        return rest.split('(').next().map(str::trim).into_iter().collect();
    }
    if let Some((_, names)) = line.strip_prefix("from ").and_then(|rest| rest.split_once(" import ")) {
        let names = names.split('#').next().unwrap_or_default();
        return names
            .split(',')
            .map(|name| name.rsplit_once(" as ").map_or(name, |(_, alias)| alias))
            .map(|name| name.trim_matches(|c: char| c.is_whitespace() || "()".contains(c)))
            .filter(|name| !name.is_empty())
            .collect();
    }
    let name = line.split_once('=').map(|(name, _)| name.trim_end()).unwrap_or_default();
    let plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    plain.then_some(name).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_defines_what_python_would_bind() {
        for (line, expected) in [
            ("def stress(row):", vec!["stress"]),
            ("async def load(x):", vec!["load"]),
            ("from other import a, b as c  # both", vec!["a", "c"]),
            ("from other import (a, b)", vec!["a", "b"]),
            ("score = make()", vec!["score"]),
            ("    def inner():", vec![]),
            ("import os", vec![]),
            ("a.b = 1", vec![]),
        ] {
            assert_eq!(defined(line), expected, "{line}");
        }
    }
}
