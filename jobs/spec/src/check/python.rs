//! Whether the user's functions are there: a static look at the project's files, nothing is run.

use super::World;
use crate::yaml::fields::At;

/// `module:function` must be a file of the project that defines the function at its top level.
pub(super) fn entry(world: &World<'_>, at: &At<'_>, entry: &str) {
    let Some((module, function)) = entry.split_once(':') else { return };
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
    let defined: Vec<&str> = file.text.lines().filter_map(defined).collect();
    if !defined.contains(&function) {
        at.unknown(306, format!("`{}` defines no function `{function}`", file.path), function, defined);
    }
}

fn module_of(path: &str) -> Option<String> {
    let module = path.strip_suffix(".py")?;
    (!module.ends_with("__init__")).then(|| module.replace('/', "."))
}

/// The name that a top-level line defines: `def f(`, `async def f(`, `f = `, `from m import f`.
fn defined(line: &str) -> Option<&str> {
    let line = line.strip_prefix("async ").unwrap_or(line);
    if let Some(rest) = line.strip_prefix("def ") {
        return rest.split('(').next().map(str::trim);
    }
    if line.starts_with("from ") {
        return line.split_once(" import ").map(|(_, names)| names.trim());
    }
    let (name, _) = line.split_once('=')?;
    let name = name.trim_end();
    (!name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_')).then_some(name)
}
