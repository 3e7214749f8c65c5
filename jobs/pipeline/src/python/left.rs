//! What a step left in `out`, made into what the object store can keep: files with names that are text.
//!
//! A training's work is not thrown away for the name of a file beside it. What is changed or left out is told.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

/// Renames what has a name that can't be kept, puts files in the place of links to them, and takes out what is no file.
/// Returns what was changed.
pub(super) fn make_storable(folder: &Path) -> io::Result<Vec<String>> {
    let (mut told, mut waiting) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(current) = waiting.pop() {
        // Listed before anything is renamed in it.
        let entries = fs::read_dir(&current)?.collect::<io::Result<Vec<_>>>()?;
        for entry in entries {
            let (path, kind) = (entry.path(), entry.file_type()?);
            let shown =
                path.strip_prefix(folder).unwrap_or(&path).display().to_string().escape_debug().to_string();
            if kind.is_symlink() {
                if !fs::metadata(&path).is_ok_and(|target| target.is_file()) {
                    fs::remove_file(&path)?;
                    told.push(format!("`{shown}` is a link to no file; not kept"));
                    continue;
                }
                let copy = current.join(format!(".copy-of-link-{}", told.len()));
                fs::copy(&path, &copy)?;
                fs::rename(&copy, &path)?;
            } else if !kind.is_dir() && !kind.is_file() {
                fs::remove_file(&path)?;
                told.push(format!("`{shown}` is neither a file nor a folder; not kept"));
                continue;
            }
            let path = match storable_name(&entry.file_name()) {
                None => path,
                Some(name) => {
                    let renamed = free(&current, &name);
                    fs::rename(&path, &renamed)?;
                    let now = renamed.strip_prefix(folder).unwrap_or(&renamed).display();
                    told.push(format!("`{shown}` has a name that can't be kept; kept as `{now}`"));
                    renamed
                }
            };
            if kind.is_dir() {
                waiting.push(path);
            }
        }
    }
    Ok(told)
}

/// The name with U+FFFD for what the object store doesn't take in one; `None` where it takes it as it is.
fn storable_name(name: &OsStr) -> Option<String> {
    let text = name.to_string_lossy();
    let replaced: String =
        text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect();
    // `file#1` is what a local store calls its own unfinished files.
    let numbered = |suffix: &str| !suffix.is_empty() && suffix.bytes().all(|byte| byte.is_ascii_digit());
    let replaced = match replaced.split_once('#') {
        Some((before, suffix)) if numbered(suffix) => format!("{before}\u{fffd}{suffix}"),
        _ => replaced,
    };
    (OsStr::new(&replaced) != name).then_some(replaced)
}

/// A path for the name that nothing lies at.
fn free(folder: &Path, name: &str) -> PathBuf {
    let names = std::iter::once(name.to_owned()).chain((2..).map(|number| format!("{name}~{number}")));
    let mut paths = names.map(|name| folder.join(name));
    paths.find(|path| fs::symlink_metadata(path).is_err()).expect("numbers don't end")
}

#[cfg(test)]
mod tests {
    use std::os::unix::{ffi::OsStrExt as _, fs::symlink, net::UnixListener};

    use super::*;

    fn files(folder: &Path) -> Vec<String> {
        let mut found = Vec::new();
        let mut waiting = vec![folder.to_owned()];
        while let Some(current) = waiting.pop() {
            for entry in fs::read_dir(&current).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    waiting.push(path);
                } else {
                    assert!(path.symlink_metadata().unwrap().is_file(), "{path:?}");
                    found.push(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        found.sort();
        found
    }

    #[test]
    fn names_links_and_sockets_cost_no_work() {
        let (out, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let write = |name: &[u8]| fs::write(out.path().join(OsStr::from_bytes(name)), "model").unwrap();
        fs::create_dir(out.path().join("a\nb")).unwrap();
        for name in [&b"model.txt"[..], b"\xff.bin", b"\xfe.bin", b"run#1", b"a\nb/c\td"] {
            write(name);
        }
        fs::write(elsewhere.path().join("target"), "linked").unwrap();
        symlink(elsewhere.path().join("target"), out.path().join("linked")).unwrap();
        symlink(elsewhere.path(), out.path().join("folder")).unwrap();
        symlink("nowhere", out.path().join("broken")).unwrap();
        let _socket = UnixListener::bind(out.path().join("socket")).unwrap();

        let told = make_storable(out.path()).unwrap();
        assert_eq!(
            files(out.path()),
            [
                "a\u{fffd}b/c\u{fffd}d",
                "linked",
                "model.txt",
                "run\u{fffd}1",
                "\u{fffd}.bin",
                "\u{fffd}.bin~2"
            ]
        );
        assert_eq!(fs::read_to_string(out.path().join("linked")).unwrap(), "linked");
        assert_eq!(told.len(), 8, "{told:#?}");
        assert!(told.iter().any(|note| note == "`folder` is a link to no file; not kept"), "{told:#?}");
        assert!(
            told.iter().any(|note| note.starts_with("`a\\nb` has a name that can't be kept")),
            "{told:#?}"
        );
        assert!(make_storable(out.path()).unwrap().is_empty());
    }
}
