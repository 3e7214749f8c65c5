//! A new project's folder: small, checked, and with data to try it on.

use std::{fs, path::Path};

use serde_json::json;

use crate::{
    args::{Global, InitArgs},
    failure::{Done, Failure},
    output,
};

/// The files of the template, by path.
const TEMPLATE: &[(&str, &str)] = &[
    ("tidemill.yaml", include_str!("init/tidemill.yaml")),
    ("orders.yaml", include_str!("init/orders.yaml")),
    ("features.yaml", include_str!("init/features.yaml")),
    ("data/orders.csv", include_str!("init/data/orders.csv")),
    ("README.md", include_str!("init/README.md")),
];

/// `tidemill init`
pub(crate) fn init(global: &Global, args: &InitArgs) -> Done {
    let folder = &args.folder;
    if folder.is_file() {
        return Err(Failure::usage(format!("{} is a file", folder.display()), "name a new folder"));
    }
    if folder.exists() && fs::read_dir(folder)?.next().is_some() {
        let message = format!("{} already exists and is not empty", folder.display());
        return Err(Failure::usage(message, "name a new folder"));
    }
    // `.` and `..` have a name only once they are resolved.
    let full = std::path::absolute(folder)?;
    let name = name(&full.file_name().unwrap_or_default().to_string_lossy());
    for (path, text) in TEMPLATE {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text.replace("PROJECT", &name))?;
    }
    let (made, files) = (json!({ "project": name, "folder": folder }), TEMPLATE.len());
    output::object(global.output, &made, "/project", |_| {
        format!("project {name} in {}: {files} files", folder.display())
    })?;
    if !global.quiet {
        tidemill_telemetry::say!("{}", next(folder));
    }
    Ok(())
}

/// The way from here, as in the project's README.
fn next(folder: &Path) -> String {
    format!(
        "next:
  cd {}
  tidemill dev                                    # in a second terminal
  tidemill check && tidemill apply
  tidemill sources upload orders data/orders.csv
  tidemill features get --entity customer_id=101",
        folder.display()
    )
}

/// A project's name: lower case, digits and underscores, beginning with a letter.
fn name(folder: &str) -> String {
    let plain: String = folder
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '_' })
        .take(63)
        .collect();
    if plain.starts_with(|c: char| c.is_ascii_lowercase()) {
        plain
    } else {
        format!("p{plain}").chars().take(63).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_project_has_no_mistakes_whatever_its_folder_is_called() {
        let global = Global {
            output: crate::output::Format::Name,
            server: None,
            timeout: None,
            verbose: false,
            quiet: true,
            no_color: false,
        };
        for folder in ["shop", "9 Lives", "Überlauf", "a-b.c"] {
            let parent = tempfile::tempdir().unwrap();
            let target = parent.path().join(folder);
            init(&global, &InitArgs { folder: target.clone() }).unwrap();
            let loaded = tidemill_spec::load(&target).unwrap();
            assert!(loaded.diagnostics.is_empty(), "{folder}: {:?}", loaded.diagnostics);
            assert!(
                init(&global, &InitArgs { folder: target }).is_err(),
                "existing files are not overwritten"
            );
        }
    }
}
