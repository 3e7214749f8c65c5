//! A project's folder: check it here, apply it there.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tidemill_core::Fault;
use tidemill_spec::{LoadOptions, Loaded, PROJECT_FILE, diagnostic::render, load_with};

use super::Session;
use crate::{
    args::{CheckArgs, Global, ProjectArgs},
    failure::{Done, Failure, USAGE},
    output::{self, Format, text},
};

/// Files of a project larger than this are refused, before they are sent.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// `tidemill check`
pub(crate) fn check(global: &Global, args: &CheckArgs) -> Done {
    let loaded = load(&args.project)?;
    report(global.output, &loaded)?;
    if loaded.failed() { Err(Failure::said()) } else { Ok(()) }
}

/// `tidemill apply`
pub(crate) async fn apply(session: &Session, args: &ProjectArgs) -> Done {
    let loaded = load(args)?;
    if loaded.failed() {
        report(session.format, &loaded)?;
        return Err(Failure::said());
    }
    let body = json!({
        "files": files(&args.folder)?, "overlays": args.with, "allow_leaks": args.allow_leaks,
    });
    let applied = session.client.post("/v1/apply", &body).await?;
    let rows = applied["items"].as_array().cloned().unwrap_or_default();
    let changed: Vec<Value> = rows.into_iter().filter(|row| row["change"] != "unchanged").collect();
    if changed.is_empty() {
        session.say("nothing has changed");
    }
    let columns = [text("OBJECT", "/object"), text("CHANGE", "/change"), text("VERSION", "/version")];
    if changed.is_empty() && session.format == Format::Table {
        return Ok(());
    }
    Ok(output::list(session.format, &changed, "/object", &columns)?)
}

fn load(args: &ProjectArgs) -> Result<Loaded, Failure> {
    if !args.folder.join(PROJECT_FILE).is_file() {
        let fault = Fault::coded(105, format!("{} has no tidemill.yaml", args.folder.display()));
        return Err(Failure::new(
            USAGE,
            fault.hint("name the project's folder, or make one with `tidemill init NAME`"),
        ));
    }
    let overlays = args.with.iter().map(|folder| folder.display().to_string()).collect();
    let options = LoadOptions { overlays, allow_leaks: args.allow_leaks };
    Ok(load_with(&args.folder, &options)?)
}

fn report(format: Format, loaded: &Loaded) -> Done {
    match format {
        Format::Table | Format::Wide => {
            eprint!("{}", render(&loaded.diagnostics, &loaded.files, crate::failure::colour()));
            if !loaded.failed() {
                eprintln!("{} objects, no mistakes", loaded.objects.definitions().len());
            }
            Ok(())
        }
        _ => {
            let rows: Vec<Value> =
                loaded.diagnostics.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
            Ok(output::list(format, &rows, "/code", &[])?)
        }
    }
}

/// Every YAML and Python file below the folder, by its path from there. Hidden folders are left out.
fn files(folder: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next)? {
            let path = entry?.path();
            let hidden = path.file_name().is_some_and(|name| {
                let name = name.to_string_lossy();
                name.starts_with('.') || name.starts_with("__")
            });
            if hidden {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else if wanted(&path) {
                let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
                found.insert(name, read(&path)?);
            }
        }
    }
    Ok(found)
}

fn wanted(path: &Path) -> bool {
    path.extension().is_some_and(|end| ["yaml", "yml", "py"].iter().any(|known| end == *known))
}

fn read(path: &PathBuf) -> Result<String, Failure> {
    if fs::metadata(path)?.len() > FILE_BYTES_MAX {
        let fault = Fault::coded(105, format!("{} is larger than 4 MiB", path.display()));
        return Err(Failure::new(
            USAGE,
            fault.hint("keep data out of the project's folder: upload it to a source"),
        ));
    }
    fs::read_to_string(path).map_err(|error| {
        let fault = Fault::coded(105, format!("{} can't be read: {error}", path.display()));
        Failure::new(USAGE, fault)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_projects_files_are_yaml_and_python_without_hidden_folders() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in
            [("tidemill.yaml", "a"), ("models/late.py", "b"), (".git/x.yaml", "c"), ("data.csv", "d")]
        {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let names: Vec<String> = files(folder.path()).unwrap().into_keys().collect();
        assert_eq!(names, ["models/late.py", "tidemill.yaml"]);
    }
}
