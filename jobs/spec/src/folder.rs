//! Which files of a folder are the project's: YAML and Python, regular files inside it, nothing else.
//!
//! Everything that takes files from a folder, or takes their names from somebody, asks here. Left out without a word are
//! names that begin with a dot (`.git`, `.tidemill`, `.venv`, caches), `__pycache__`, `node_modules` and virtual
//! environments (folders with a `pyvenv.cfg`). What looks like a file of the project and can't be one is refused: a link
//! out of the folder would send what isn't the project's, and reading a pipe or a device never ends.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read as _},
    path::{Component, Path},
};

use crate::diagnostic::SourceFile;

/// Bytes of a YAML file; more is generated, and belongs into data.
const YAML_BYTES_MAX: usize = 1 << 20;
/// Bytes of a Python file.
const PYTHON_BYTES_MAX: usize = 4 << 20;
/// Bytes of all files together.
const ALL_BYTES_MAX: usize = 32 << 20;
/// Files of a project.
const FILES_MAX: usize = 10_000;
/// Bytes of a path, and of a name in it: what file systems take, with room for where it is unpacked.
const PATH_BYTES_MAX: usize = 1_024;
const NAME_BYTES_MAX: usize = 255;

/// What a folder holds of a project.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    /// By path.
    pub files: Vec<SourceFile>,
    /// What can't be taken, by path.
    pub refused: Vec<Refused>,
}

/// A file that can't be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Relative to the folder.
    pub path: String,
    /// What is wrong with it, to follow its name.
    pub why: String,
    /// How to fix it.
    pub help: &'static str,
}

/// Whether files of the project end so.
pub(crate) fn is_yaml(path: &str) -> bool {
    ends_in(path, &["yaml", "yml"])
}

fn is_wanted(path: &str) -> bool {
    is_yaml(path) || ends_in(path, &["py"])
}

fn ends_in(path: &str, endings: &[&str]) -> bool {
    Path::new(path).extension().is_some_and(|ending| endings.iter().any(|known| ending == *known))
}

/// Every file below `folder`.
///
/// # Errors
/// A folder in it can't be read.
pub(crate) fn read(folder: &Path) -> io::Result<Folder> {
    let mut found = Folder::default();
    Walk { root: &fs::canonicalize(folder)?, found: &mut found }.below("")?;
    found.files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found.judged())
}

/// The same of files that somebody sent, by the path that each is said to have.
pub(crate) fn sent(files: Vec<SourceFile>) -> Folder {
    let mut found = Folder::default();
    let names: HashSet<String> = files.iter().map(|file| file.path.clone()).collect();
    let within_file = |path: &str| {
        Path::new(path)
            .ancestors()
            .skip(1)
            .any(|folder| folder.to_str().is_some_and(|name| names.contains(name)))
    };
    for file in files {
        let wrong = wrong_path(&file.path)
            .or_else(|| within_file(&file.path).then_some("is below a path that is a file"));
        match wrong {
            None => found.files.push(file),
            Some(why) => found.refuse(&file.path, why, "name it FOLDER/NAME.yaml or FOLDER/NAME.py"),
        }
    }
    found.judged()
}

impl Folder {
    fn refuse(&mut self, path: &str, why: impl Into<String>, help: &'static str) {
        self.refused.push(Refused { path: path.to_owned(), why: why.into(), help });
    }

    /// Refuses what is too large, and all where there is too much of it.
    fn judged(mut self) -> Self {
        let all: usize = self.files.iter().map(|file| file.text.len()).sum();
        let files = std::mem::take(&mut self.files);
        if files.len() > FILES_MAX || all > ALL_BYTES_MAX {
            let why = format!(
                "and {} more files have {} MiB; a project has at most {FILES_MAX} files and {} MiB",
                files.len() - 1,
                all >> 20,
                ALL_BYTES_MAX >> 20
            );
            self.refuse(&files[0].path, why, DATA);
            return self;
        }
        for file in files {
            let most = bytes_max(&file.path);
            if file.text.len() > most {
                self.refuse(&file.path, format!("is larger than {} MiB", most >> 20), DATA);
            } else {
                self.files.push(file);
            }
        }
        self
    }
}

const DATA: &str = "move data out of the project's folder and upload it: tidemill sources upload SOURCE FILE";

fn bytes_max(path: &str) -> usize {
    if is_yaml(path) { YAML_BYTES_MAX } else { PYTHON_BYTES_MAX }
}

/// Why a path can't be one of a project's file; `None` where it can.
pub fn wrong_path(path: &str) -> Option<&'static str> {
    let names = Path::new(path).components();
    if path.is_empty() || !names.clone().all(|name| matches!(name, Component::Normal(_))) {
        return Some("is not a path inside the project");
    }
    if path.len() > PATH_BYTES_MAX || names.clone().any(|name| name.as_os_str().len() > NAME_BYTES_MAX) {
        return Some("has more than 1,024 bytes, or a name in it more than 255");
    }
    if path.ends_with('/') || path.contains(|letter: char| letter.is_control() || letter == '\\') {
        return Some("ends in `/`, or has a backslash or a control character");
    }
    (!is_wanted(path)).then_some("is neither YAML nor Python")
}

struct Walk<'a> {
    root: &'a Path,
    found: &'a mut Folder,
}

impl Walk<'_> {
    fn below(&mut self, folder: &str) -> io::Result<()> {
        for entry in fs::read_dir(self.root.join(folder))? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') || matches!(name.as_ref(), "__pycache__" | "node_modules") {
                continue;
            }
            let path = if folder.is_empty() { name.into_owned() } else { format!("{folder}/{name}") };
            let kind = entry.file_type()?;
            if kind.is_symlink() {
                self.link(&path);
            } else if kind.is_dir() {
                if !entry.path().join("pyvenv.cfg").exists() {
                    self.below(&path)?;
                }
            } else if is_wanted(&path) {
                self.file(&path);
            }
        }
        Ok(())
    }

    /// A link to a file of the project is that file; any other would bring in what isn't the project's.
    fn link(&mut self, path: &str) {
        const HELP: &str = "replace the link with the file, or give it a name that begins with a dot";
        match fs::canonicalize(self.root.join(path)) {
            Ok(target) if target.is_dir() => {
                self.found.refuse(path, format!("is a link to a folder, {}", target.display()), HELP);
            }
            // A link to data is not looked at.
            _ if !is_wanted(path) => {}
            Ok(target) if target.starts_with(self.root) => self.file(path),
            Ok(target) => {
                self.found.refuse(
                    path,
                    format!("is a link to a file outside the project, {}", target.display()),
                    HELP,
                );
            }
            Err(_) => self.found.refuse(path, "is a broken link", HELP),
        }
    }

    fn file(&mut self, path: &str) {
        match text(&self.root.join(path), bytes_max(path)) {
            Ok(text) => self.found.files.push(SourceFile { path: path.to_owned(), text }),
            Err(why) => self.found.refuse(
                path,
                why,
                "save it as UTF-8 text that you may read, or move it out of the project's folder",
            ),
        }
    }
}

/// The text of a regular file; of one that is too large only as much as shows it.
fn text(path: &Path, most: usize) -> Result<String, String> {
    let cannot = |error: io::Error| format!("can't be read: {error}");
    // Before it is opened: opening a pipe waits for who writes to it.
    if !fs::metadata(path).map_err(cannot)?.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(most as u64 + 1).read_to_end(&mut bytes)).map_err(cannot)?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        // The cut may lie within a letter.
        Err(cut) if cut.as_bytes().len() > most => Err(format!("is larger than {} MiB", most >> 20)),
        Err(_) => Err("is not UTF-8".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn project() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for path in [
            "tidemill.yaml",
            "models/late.py",
            "models/__init__.py",
            "data.csv",
            ".git/x.yaml",
            "env/lib/y.py",
        ] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "text").unwrap();
        }
        fs::write(folder.path().join("env/pyvenv.cfg"), "").unwrap();
        folder
    }

    fn names(found: &Folder) -> Vec<&str> {
        found.files.iter().map(|file| file.path.as_str()).collect()
    }

    #[test]
    fn yaml_and_python_are_taken_and_caches_and_environments_left_out() {
        let found = read(project().path()).unwrap();
        assert_eq!(names(&found), ["models/__init__.py", "models/late.py", "tidemill.yaml"]);
        assert_eq!(found.refused, []);
    }

    #[test]
    fn links_out_pipes_and_devices_are_refused_by_name_and_links_within_are_followed() {
        let (outside, project) = (tempfile::tempdir().unwrap(), project());
        fs::write(outside.path().join("secret.py"), "x").unwrap();
        let at = |name: &str| project.path().join(name);
        symlink(outside.path().join("secret.py"), at("secret.py")).unwrap();
        symlink(outside.path(), at("shared")).unwrap();
        symlink("/dev/zero", at("zero.yaml")).unwrap();
        symlink("nowhere", at("gone.py")).unwrap();
        symlink("/dev/zero", at("data.bin")).unwrap();
        symlink("models/late.py", at("same.py")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(at("pipe.py")).status().unwrap();
        assert!(made.success());
        let found = read(project.path()).unwrap();
        assert_eq!(names(&found), ["models/__init__.py", "models/late.py", "same.py", "tidemill.yaml"]);
        let mut refused: Vec<_> =
            found.refused.iter().map(|refused| (&refused.path[..], &refused.why[..])).collect();
        refused.sort_unstable();
        assert_eq!(refused[0], ("gone.py", "is a broken link"));
        assert_eq!(refused[1], ("pipe.py", "is not a regular file"));
        assert!(
            refused[2].0 == "secret.py"
                && refused[2].1.starts_with("is a link to a file outside the project, /")
        );
        assert!(refused[3].0 == "shared" && refused[3].1.starts_with("is a link to a folder, /"));
        assert_eq!(refused[4].0, "zero.yaml");
        assert_eq!(refused.len(), 5);
    }

    #[test]
    fn a_sparse_file_is_read_only_as_far_as_shows_that_it_is_too_large() {
        let project = project();
        File::create(project.path().join("huge.py")).unwrap().set_len(1 << 40).unwrap();
        let found = read(project.path()).unwrap();
        assert_eq!(found.refused[0].why, "is larger than 4 MiB");
    }

    #[test]
    fn paths_that_somebody_sends_stay_inside_and_end_as_ours() {
        for path in ["a.py", "a/b.yaml", "a/b/c.yml"] {
            assert_eq!(wrong_path(path), None, "{path}");
        }
        let long = format!("{}.py", "x".repeat(300));
        let deep = "a/".repeat(600) + "b.py";
        for path in [
            "",
            "/a.py",
            "../a.py",
            "a/../b.py",
            "./a.py",
            "a.py/",
            "a\0.py",
            "a\\b.py",
            "a.txt",
            &long,
            &deep,
        ] {
            assert!(wrong_path(path).is_some(), "{path:?}");
        }
    }
}
