//! A new project's folder: small, checked, and with data to try it on.

use std::fs;

use crate::{
    args::{Global, InitArgs},
    failure::{Done, Failure},
};

/// The files of the template, by path.
const TEMPLATE: &[(&str, &str)] = &[
    ("tidemill.yaml", include_str!("init/tidemill.yaml")),
    ("sources.yaml", include_str!("init/sources.yaml")),
    ("features.yaml", include_str!("init/features.yaml")),
    ("data/orders.csv", include_str!("init/data/orders.csv")),
    ("README.md", include_str!("init/README.md")),
];

/// `tidemill init`
pub(crate) fn init(global: &Global, args: &InitArgs) -> Done {
    let folder = &args.folder;
    if folder.exists() && fs::read_dir(folder)?.next().is_some() {
        let message = format!("{} is there already and not empty", folder.display());
        return Err(Failure::usage(message, "name a new folder"));
    }
    let name = folder.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    for (path, text) in TEMPLATE {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text.replace("PROJECT", &name))?;
    }
    if !global.quiet {
        eprintln!("made {}; next: cd {} && tidemill dev", folder.display(), folder.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_project_has_no_mistakes() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("shop");
        let global = Global {
            output: crate::output::Format::Table,
            server: None,
            timeout: None,
            verbose: false,
            quiet: true,
        };
        init(&global, &InitArgs { folder: target.clone() }).unwrap();
        let loaded = tidemill_spec::load(&target).unwrap();
        assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    }
}
