//! Bytes of files that are still arriving, on the object store, so that any gateway can go on with them.
//!
//! A part is written whole or not at all. Parts may overlap after a client started over; what counts is what can be
//! read without a gap from the start.

use std::io::{Read as _, Write as _};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tidemill_blobs::{BlobEntry, Blobs};

use crate::{Error, FileClaim};

/// Files that are still arriving.
#[derive(Clone, Debug)]
pub struct Staging {
    blobs: Blobs,
}

impl Staging {
    /// Staging on an object store.
    pub fn new(blobs: Blobs) -> Self {
        Self { blobs }
    }

    /// Bytes of the file that are here, from its start.
    pub async fn received(&self, claim: &FileClaim) -> Result<u64, Error> {
        Ok(chain(&self.parts(claim).await?).last().map_or(0, |part| part.end))
    }

    /// Keeps a part of the file; durable when this returns. Safe to repeat.
    pub async fn write(&self, claim: &FileClaim, offset: u64, bytes: Bytes) -> Result<(), Error> {
        Ok(self.blobs.put_at(&format!("{}{offset:020}-{}", prefix(claim), bytes.len()), bytes).await?)
    }

    /// The whole file, as a local one whose hash was checked. When it is another file than was announced, all of it
    /// is forgotten.
    pub async fn assemble(&self, claim: &FileClaim) -> Result<NamedTempFile, Error> {
        let mut local = Local::new()?;
        for part in chain(&self.parts(claim).await?) {
            let bytes = self.blobs.get_at(&part.path).await?;
            local.add(
                &bytes[usize::try_from(local.size - part.start).unwrap_or(bytes.len()).min(bytes.len())..],
            )?;
        }
        if local.size < claim.size_bytes {
            return Err(Error::Mismatch(format!(
                "{} of {} bytes have arrived",
                local.size, claim.size_bytes
            )));
        }
        match local.checked(claim) {
            Err(error @ Error::Mismatch(_)) => {
                self.clear(claim).await?;
                Err(error)
            }
            checked => checked,
        }
    }

    /// A file that came in one piece, as a local one whose hash was checked: nothing of it is kept here.
    pub fn whole(claim: &FileClaim, bytes: &[u8]) -> Result<NamedTempFile, Error> {
        let mut local = Local::new()?;
        local.add(bytes)?;
        local.checked(claim)
    }

    /// Forgets what has arrived.
    pub async fn clear(&self, claim: &FileClaim) -> Result<(), Error> {
        for part in self.blobs.list(&prefix(claim)).await? {
            self.blobs.delete_at(&part.path).await?;
        }
        Ok(())
    }

    async fn parts(&self, claim: &FileClaim) -> Result<Vec<Part>, Error> {
        let mut parts: Vec<Part> =
            self.blobs.list(&prefix(claim)).await?.into_iter().filter_map(Part::of).collect();
        parts.sort_by_key(|part| (part.start, part.end));
        Ok(parts)
    }
}

/// A local file that is put together.
struct Local {
    file: NamedTempFile,
    hash: Sha256,
    size: u64,
}

impl Local {
    fn new() -> Result<Self, Error> {
        Ok(Self { file: NamedTempFile::new()?, hash: Sha256::new(), size: 0 })
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.hash.update(bytes);
        self.file.write_all(bytes)?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// The file, if it is the one that was announced.
    fn checked(self, claim: &FileClaim) -> Result<NamedTempFile, Error> {
        let found = hex(&self.hash.finalize());
        if self.size == claim.size_bytes && found == claim.sha256 {
            return Ok(self.file);
        }
        Err(Error::Mismatch(format!(
            "{} bytes with SHA-256 {found} arrived, but {} with {} were announced",
            self.size, claim.size_bytes, claim.sha256
        )))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    start: u64,
    end: u64,
    path: String,
}

impl Part {
    fn of(entry: BlobEntry) -> Option<Self> {
        let name = entry.path.rsplit('/').next()?;
        let (start, length) = name.split_once('-')?;
        let (start, length): (u64, u64) = (start.parse().ok()?, length.parse().ok()?);
        (length == entry.size_bytes).then_some(Self { start, end: start + length, path: entry.path })
    }
}

/// Parts that lead from the start without a gap, each with something new. `parts` are sorted by start.
fn chain(parts: &[Part]) -> Vec<Part> {
    let mut chain: Vec<Part> = Vec::new();
    let mut reached = 0;
    for part in parts {
        if part.start <= reached && part.end > reached {
            reached = part.end;
            chain.push(part.clone());
        }
    }
    chain
}

fn prefix(claim: &FileClaim) -> String {
    format!("staging/{}/{}/", claim.source, claim.sha256)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// SHA-256 of a local file in hex, and its size.
pub(crate) fn hash_file(path: &std::path::Path) -> std::io::Result<(String, u64)> {
    let mut file = std::fs::File::open(path)?;
    let (mut hash, mut size, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((hex(&hash.finalize()), size));
        }
        hash.update(&buffer[..read]);
        size += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(start: u64, end: u64) -> Part {
        Part { start, end, path: String::new() }
    }

    #[test]
    fn only_what_has_no_gap_before_it_counts() {
        let parts = [part(0, 8), part(4, 6), part(4, 12), part(16, 24)];
        assert_eq!(chain(&parts), [part(0, 8), part(4, 12)]);
        assert!(chain(&parts[3..]).is_empty());
    }
}
