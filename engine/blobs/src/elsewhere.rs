//! Objects that are not ours: of any bucket, as users name them, `s3://BUCKET/KEY` or `s3://BUCKET/some/**/*.csv`.
//!
//! How the bucket is reached is the environment's to say, by the usual variables (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
//! `AWS_REGION`, `AWS_ENDPOINT_URL`, …). Nothing is kept of what is fetched.

use std::{collections::BTreeSet, future::ready, path::PathBuf, sync::Arc};

use futures::TryStreamExt as _;
use object_store::{
    ObjectStore, ObjectStoreExt as _,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
};
use tempfile::{NamedTempFile, TempPath};

use crate::{Error, cache::save, key};

const SCHEME: &str = "s3://";

/// A bucket of somebody; cheap to clone.
#[derive(Clone, Debug)]
pub struct Elsewhere {
    store: Arc<dyn ObjectStore>,
    bucket: String,
    /// A key, or a glob of keys.
    wanted: String,
}

/// An object of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it is called, `s3://BUCKET/KEY`.
    pub url: String,
    /// How large it is.
    pub size_bytes: u64,
    key: String,
}

impl Elsewhere {
    /// Whether that is a name of objects elsewhere.
    pub fn is_named_by(url: &str) -> bool {
        url.starts_with(SCHEME)
    }

    /// The place that a URL names; `environment`: variables that say how it is reached.
    ///
    /// # Errors
    /// The URL names no bucket or no key, or the environment says what can't be.
    pub fn of(url: &str, environment: impl IntoIterator<Item = (String, String)>) -> Result<Self, Error> {
        let invalid = |reason: &str| Error::Url { url: url.to_owned(), reason: reason.to_owned() };
        let place = url.strip_prefix(SCHEME).ok_or_else(|| invalid("unknown scheme"))?;
        let (bucket, wanted) = place.split_once('/').unwrap_or((place, ""));
        if bucket.is_empty() || wanted.is_empty() {
            return Err(invalid("it is written s3://BUCKET/KEY"));
        }
        let mut builder = AmazonS3Builder::new();
        for (name, value) in environment {
            if let Ok(known) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>()
                && name.starts_with("AWS_")
            {
                builder = builder.with_config(known, value);
            }
        }
        let store = builder.with_bucket_name(bucket).build().map_err(|error| invalid(&error.to_string()))?;
        Ok(Self { store: Arc::new(store), bucket: bucket.to_owned(), wanted: wanted.to_owned() })
    }

    /// The objects that the URL names, in the order of their keys: one, or all that its glob does. `*`, `?` and `[a-c]` stand
    /// for parts of a name, `**` for folders, however many.
    ///
    /// # Errors
    /// The server can't be reached, or lets nobody in.
    pub async fn found(&self) -> Result<Vec<Found>, Error> {
        let failed = |error| Error::at(&self.url(&self.wanted), error);
        let Some(wild) = self.wanted.find(['*', '?', '[']) else {
            return match self.store.head(&key(&self.wanted)?).await {
                Ok(meta) => Ok(vec![self.one(meta.location.to_string(), meta.size)]),
                Err(object_store::Error::NotFound { .. }) => Ok(Vec::new()),
                Err(error) => Err(failed(error)),
            };
        };
        let folder = self.wanted[..wild].rsplit_once('/').map(|(folder, _)| key(folder)).transpose()?;
        let glob = parts(&self.wanted);
        let listed = self.store.list(folder.as_ref()).map_ok(|meta| (meta.location.to_string(), meta.size));
        let listed = listed.try_filter(|(key, _)| ready(matches(&glob, key)));
        let mut listed: Vec<(String, u64)> = listed.try_collect().await.map_err(failed)?;
        listed.sort_unstable();
        Ok(listed.into_iter().map(|(key, size_bytes)| self.one(key, size_bytes)).collect())
    }

    /// An object as a file of this machine, which is deleted when the path is dropped.
    ///
    /// # Errors
    /// [`Error::Missing`] when it is gone, or the server or the disk fails.
    pub async fn download(&self, found: &Found) -> Result<TempPath, Error> {
        let place = std::env::temp_dir();
        let made = NamedTempFile::new().map_err(|error| Error::file(&place, error))?;
        let (file, path) = made.into_parts();
        let shown = PathBuf::from(&*path);
        save(&*self.store, &found.key, &shown, &mut tokio::fs::File::from_std(file)).await?;
        Ok(path)
    }

    fn one(&self, key: String, size_bytes: u64) -> Found {
        Found { url: self.url(&key), size_bytes, key }
    }

    fn url(&self, key: &str) -> String {
        format!("{SCHEME}{}/{key}", self.bucket)
    }
}

/// A part of a glob.
#[derive(Clone, Debug, PartialEq)]
enum Part {
    Char(char),
    /// Any character of a name.
    One,
    /// Any of these, or any but these.
    Of {
        ranges: Vec<(char, char)>,
        not: bool,
    },
    /// Any part of a name.
    Name,
    /// Any folders, with their slashes.
    Folders,
}

fn parts(glob: &str) -> Vec<Part> {
    let chars: Vec<char> = glob.chars().collect();
    let (mut parts, mut at) = (Vec::new(), 0);
    while let Some(&char) = chars.get(at) {
        at += 1;
        match char {
            '*' if chars.get(at) == Some(&'*') => {
                at += 1;
                parts.push(Part::Folders);
                // What is below folders has a name, and at the end any.
                match chars.get(at) {
                    Some('/') => at += 1,
                    _ => parts.push(Part::Name),
                }
            }
            '*' => parts.push(Part::Name),
            '?' => parts.push(Part::One),
            '[' => match chars[at..].iter().skip(1).position(|char| *char == ']') {
                Some(length) => {
                    parts.push(class(&chars[at..=at + length]));
                    at += length + 2;
                }
                None => parts.push(Part::Char('[')),
            },
            char => parts.push(Part::Char(char)),
        }
    }
    parts
}

/// What stands between brackets.
fn class(inside: &[char]) -> Part {
    let not = matches!(inside, ['!' | '^', _, ..]);
    let (mut inside, mut ranges) = (&inside[usize::from(not)..], Vec::new());
    while let [first, rest @ ..] = inside {
        if let ['-', last, more @ ..] = rest {
            ranges.push((*first, *last));
            inside = more;
        } else {
            ranges.push((*first, *first));
            inside = rest;
        }
    }
    Part::Of { ranges, not }
}

/// Follows all ways through the glob at once, so that its stars cost nothing.
fn matches(glob: &[Part], key: &str) -> bool {
    let mut places = BTreeSet::new();
    stand(glob, 0, true, &mut places);
    for char in key.chars() {
        let mut next = BTreeSet::new();
        for place in places {
            let to = match glob.get(place) {
                Some(Part::Char(other)) if *other == char => place + 1,
                Some(Part::One) if char != '/' => place + 1,
                Some(Part::Of { ranges, not }) if char != '/' => {
                    let inside = ranges.iter().any(|(first, last)| (*first..=*last).contains(&char));
                    if inside == *not {
                        continue;
                    }
                    place + 1
                }
                Some(Part::Name) if char != '/' => place,
                Some(Part::Folders) => place,
                _ => continue,
            };
            stand(glob, to, char == '/', &mut next);
        }
        places = next;
    }
    places.contains(&glob.len())
}

/// Where one stands at a place: there, and behind what may be nothing. `begins`: a name does.
fn stand(glob: &[Part], place: usize, begins: bool, places: &mut BTreeSet<usize>) {
    places.insert(place);
    match glob.get(place) {
        Some(Part::Name) => stand(glob, place + 1, begins, places),
        Some(Part::Folders) if begins => stand(glob, place + 1, begins, places),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_names_what_a_shell_would() {
        for (glob, yes, no) in [
            ("in/*.csv", &["in/a.csv", "in/.csv"][..], &["in/a/b.csv", "in/a.csv.gz", "a.csv"][..]),
            ("in/**/*.csv", &["in/a.csv", "in/a/b/c.csv"], &["inn/a.csv", "in.csv"]),
            ("in/**", &["in/a", "in/a/b"], &["out/a"]),
            (
                "day=?/[a-c]x[!0-9].csv",
                &["day=1/bxy.csv"],
                &["day=10/bxy.csv", "day=1/dxy.csv", "day=1/bx1.csv"],
            ),
            ("a[", &["a["], &["a"]),
            ("*a*a*a*a*a*a*a*b", &["aaaaaaab"], &["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac"]),
        ] {
            for key in yes {
                assert!(matches(&parts(glob), key), "{glob} {key}");
            }
            for key in no {
                assert!(!matches(&parts(glob), key), "{glob} {key}");
            }
        }
    }

    #[test]
    fn a_place_has_a_bucket_and_a_key() {
        for url in ["s3://", "s3://bucket", "s3://bucket/", "s3:///key", "gs://bucket/key"] {
            assert!(Elsewhere::of(url, []).is_err(), "{url}");
        }
    }
}
