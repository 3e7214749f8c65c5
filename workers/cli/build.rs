//! Gathers `docs/errors/TM*.md` into the program, so that `tidemill explain` works offline.

use std::{env, error::Error, fmt::Write as _, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../..").canonicalize()?;
    let folder = root.join("docs/errors");
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut pages: Vec<PathBuf> =
        fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>()?;
    pages.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("TM")));
    pages.sort();
    let mut code =
        String::from("/// Code and text of every page.\nstatic ERROR_PAGES: &[(&str, &str)] = &[\n");
    for page in pages {
        let name = page.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        writeln!(code, "    ({name:?}, include_str!({:?})),", page.display().to_string())?;
    }
    code.push_str("];\n");
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("error_pages.rs"), code)?;
    // The prebuilt DuckDB library lives in the private folder that `.deps` points at.
    if let Ok(lib) = root.join(".deps/lib").canonicalize() {
        println!("cargo:rustc-link-arg-bins=-Wl,-rpath,{}", lib.display());
    }
    Ok(())
}
