//! Segments on their way from this machine to the object store, as Parquet.
//!
//! A segment becomes an object for each version in it, named after the segment: shipped again, it is the same object with
//! the same rows. The segment is deleted once they are there; whoever dies in between ships it again, and the lake takes it
//! once.

use std::{fs, path::Path, sync::atomic::Ordering};

use anyhow::Context as _;
use arrow::{array::RecordBatch, compute::concat_batches};
use bytes::Bytes;
use tidemill_blobs::Blobs;
use tidemill_rows::{parquet, prediction_log::SEGMENTS};

use super::{
    Shared,
    segment::{Frame, Frames, Owner, decode},
    spool::Folder,
};

/// The ending of a segment that can't be read.
pub(super) const BROKEN: &str = "broken";

/// What goes to the object store.
#[derive(Debug)]
struct Object {
    path: String,
    content: Bytes,
}

/// Ships what is ready in a folder, oldest first.
///
/// # Errors
/// The object store or the disk refuses: what isn't shipped stays.
pub(super) async fn ship(folder: &Folder, blobs: &Blobs, shared: &Shared) -> anyhow::Result<()> {
    for path in folder.segments()? {
        // A disk that can't be read just now says nothing of what is on it: tried again later.
        let bytes = tokio::fs::read(&path).await.with_context(|| path.display().to_string())?;
        let size = bytes.len() as u64;
        let read = {
            let path = path.clone();
            tokio::task::spawn_blocking(move || objects(&bytes, &path)).await?
        };
        match read {
            Ok(objects) => {
                for object in objects {
                    blobs.put_at(&object.path, object.content).await?;
                }
                fs::remove_file(&path)?;
            }
            Err(error) => {
                tracing::error!(
                    path = %path.display(),
                    error = %format!("{error:#}"),
                    "a segment of the prediction log can't be read: it is kept, and not shipped"
                );
                fs::rename(&path, path.with_extension(BROKEN))?;
            }
        }
        free(shared, size);
    }
    Ok(())
}

fn free(shared: &Shared, bytes: u64) {
    let less = |used: u64| Some(used.saturating_sub(bytes));
    // It always has a new value.
    let _ = shared.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
}

/// What names a segment among those of all processes.
fn name_of(path: &Path) -> String {
    let part = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let folder = path.parent().map(|folder| part(folder.file_name())).unwrap_or_default();
    format!("{folder}-{}", part(path.file_stem()))
}

/// The objects of a segment. The same file gives the same ones.
fn objects(bytes: &[u8], path: &Path) -> anyhow::Result<Vec<Object>> {
    let name = name_of(path);
    let Frames { frames, torn_bytes } = decode(bytes)?;
    if torn_bytes > 0 {
        tracing::warn!(path = %path.display(), torn_bytes, "the end of a segment was cut off: whoever wrote it was killed");
    }
    let mut groups: Vec<(Owner, Vec<RecordBatch>)> = Vec::new();
    for Frame { owner, rows } in frames {
        let own = groups
            .iter_mut()
            .find(|(other, batches)| *other == owner && batches[0].schema() == rows.schema());
        match own {
            Some((_, batches)) => batches.push(rows),
            None => groups.push((owner, vec![rows])),
        }
    }
    let object = |(place, (owner, batches)): (usize, (Owner, Vec<RecordBatch>))| {
        let rows = concat_batches(&batches[0].schema(), &batches)?;
        let path = format!("{SEGMENTS}/{}/{name}-{place}.parquet", owner.model);
        Ok(Object { path, content: parquet::write(&rows)? })
    };
    groups.into_iter().enumerate().map(object).collect()
}
