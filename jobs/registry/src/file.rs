//! A person's model file made an artifact: brought here, wrapped and proven in a Python process, kept by its content.
//!
//! What was given is kept as well, beside what was made of it, so that a version can be made again.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use indexmap::IndexMap;
use tidemill_blobs::{BlobRef, Elsewhere};
use tidemill_catalog::{Dataset, DatasetRow, Node};
use tidemill_core::JobError;
use tidemill_pyrun::{DatasetFiles, PyOptions, StepEvent, StepSink, WrapCall};
use tidemill_runtime::Context;
use tidemill_spec::{Model, Type, steps::ModelRegister};

use crate::{Deps, Error};

/// Longest that reading a model and asking it may take, real time.
const WRAP_TIME_MAX: Duration = Duration::from_mins(10);
/// Datasets that are looked through for one of the model's.
const DATASETS_MAX: u32 = 1_000;

/// What became of a file.
#[derive(Debug)]
pub(crate) struct Filed {
    /// Where the model folder is kept.
    pub(crate) artifact: String,
    /// The file, as lineage names it.
    pub(crate) node: Node,
}

impl Filed {
    /// Makes a model folder of the file that a step names, for a model that takes `columns`. Safe to repeat.
    pub(crate) async fn of(
        deps: &Deps,
        args: &ModelRegister,
        file: &str,
        model: &Model,
        columns: &IndexMap<String, Type>,
        cx: &mut Context<i32>,
    ) -> Result<Self, JobError> {
        let workspace = tempfile::tempdir_in(&deps.cache).map_err(Error::from)?;
        let folder = |name: &str| {
            let path = workspace.path().join(name);
            fs::create_dir(&path).map(|()| path)
        };
        let (given, out) = (folder("given").map_err(Error::from)?, folder("out").map_err(Error::from)?);
        match &args.uploaded {
            Some(files) => unpack(deps, files, &given).await?,
            None => bring(file, &given).await?,
        }
        let rows = rows(deps, args, (model, columns), &folder("rows").map_err(Error::from)?).await?;
        let kept = deps.blobs.put_folder("files", &given).await.map_err(Error::from)?;
        cx.log(format!("{file}: {kept}"));
        let call = WrapCall {
            given,
            out,
            flavor: model.runtime.clone(),
            sample: args.sample.is_some(),
            rows: DatasetFiles {
                files: vec![rows],
                inputs: columns.clone(),
                label: None,
                outputs: model.outputs.clone(),
            },
        };
        let options = PyOptions { code: code(deps).await?, time_limit: WRAP_TIME_MAX, ..deps.python.clone() };
        let wrapped = call.run(&options, &mut Printed { cx }).await;
        wrapped.map_err(|source| Error::Unwrapped { file: named(file).to_owned(), source })?;
        let artifact = deps.blobs.put_folder("artifacts", &call.out).await.map_err(Error::from)?;
        let sha256 = kept.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(Self { artifact, node: Node::File(named(file).to_owned(), sha256) })
    }
}

/// The project's Python of now, which a pickle may name.
async fn code(deps: &Deps) -> Result<Option<PathBuf>, Error> {
    let Some(hash) = deps.catalog.code_hash().await? else { return Ok(None) };
    Ok(Some(tidemill_catalog::code::unpack(&deps.blobs, &hash, &deps.cache.join("code")).await?))
}

/// The sample, or without one the newest dataset that was built from the model's inputs.
async fn rows(
    deps: &Deps,
    args: &ModelRegister,
    (model, columns): (&Model, &IndexMap<String, Type>),
    folder: &Path,
) -> Result<PathBuf, Error> {
    if let Some(sample) = &args.sample {
        match &args.uploaded_sample {
            Some(sha256) => {
                let files = [(named(sample).to_owned(), sha256.clone())];
                unpack(deps, &IndexMap::from(files), folder).await?;
            }
            None => bring(sample, folder).await?,
        }
        return Ok(folder.join(named(sample)));
    }
    let datasets = deps.catalog.datasets(DATASETS_MAX).await?;
    let fits = |row: &&DatasetRow| {
        let Dataset { model: of, columns: has, train, .. } = &row.dataset;
        let all = columns.iter().all(|(name, ty)| has.get(name) == Some(ty));
        row.erased_at.is_none() && of.as_deref() == Some(&model.name) && all && train.rows > 0
    };
    let dataset = datasets.iter().find(fits).ok_or_else(|| Error::NoRows { model: model.name.clone() })?;
    Ok(deps.blobs.fetch(&dataset.dataset.train.path).await?)
}

/// Uploaded files by their paths, each named by its content.
async fn unpack(deps: &Deps, files: &IndexMap<String, String>, folder: &Path) -> Result<(), Error> {
    for (path, sha256) in files {
        let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        let blob: Option<BlobRef> = sha256.parse().ok().filter(|_| inside && !path.is_empty());
        let blob = blob.ok_or_else(|| Error::NoFile(format!("`{path}` is no file of an upload")))?;
        let kept = deps.blobs.fetch(&blob.path()).await?;
        let target = folder.join(path);
        fs::create_dir_all(target.parent().unwrap_or(folder))?;
        fs::copy(kept, target)?;
    }
    Ok(())
}

/// A file or a folder of this machine, or of a bucket.
async fn bring(file: &str, folder: &Path) -> Result<(), Error> {
    if Elsewhere::is_named_by(file) {
        return download(file, folder).await;
    }
    let path = file.strip_prefix("file://").unwrap_or(file);
    if path.contains("://") {
        let places = "a model file is read from a path, from file:///PATH or from s3://BUCKET/KEY";
        return Err(Error::NoFile(format!("`{file}`: {places}")));
    }
    let (from, to) = (PathBuf::from(path), folder.to_owned());
    let copied = tokio::task::spawn_blocking(move || {
        if from.is_dir() {
            copy_folder(&from, &to)
        } else {
            fs::copy(&from, to.join(name_of(&from))).map(drop)
        }
    });
    let copied = copied.await.map_err(io::Error::other)?;
    copied.map_err(|error| Error::NoFile(format!("`{file}`: {error}")))
}

/// A symbolic link is followed to a file; a folder that it names may hold itself.
fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// An object, or all below one that is a folder.
async fn download(url: &str, folder: &Path) -> Result<(), Error> {
    let place =
        |url: &str| Elsewhere::of(url, std::env::vars()).map_err(|error| Error::NoFile(error.to_string()));
    if url.contains(['*', '?', '[']) {
        return Err(Error::NoFile(format!("`{url}`: name one object, or a folder of them")));
    }
    let below = format!("{}/", url.trim_end_matches('/'));
    let mut from = place(url.trim_end_matches('/'))?;
    let mut found = from.found().await?;
    if found.is_empty() {
        from = place(&format!("{below}**"))?;
        found = from.found().await?;
    }
    if found.is_empty() {
        return Err(Error::NoFile(format!("there is nothing at `{url}`")));
    }
    for object in &found {
        let path = object.url.strip_prefix(&below).unwrap_or_else(|| named(&object.url));
        let target = folder.join(path);
        fs::create_dir_all(target.parent().unwrap_or(folder))?;
        fs::copy(&*from.download(object).await?, target)?;
    }
    Ok(())
}

fn name_of(path: &Path) -> PathBuf {
    path.file_name().map_or_else(|| PathBuf::from("model"), PathBuf::from)
}

/// The last part of a path or a URL.
fn named(file: &str) -> &str {
    let file = file.trim_end_matches('/');
    file.rsplit('/').next().unwrap_or(file)
}

/// What the model prints while it is read and asked stands in the step's log.
struct Printed<'a> {
    cx: &'a mut Context<i32>,
}

impl StepSink for Printed<'_> {
    async fn event(&mut self, event: StepEvent) -> Result<(), JobError> {
        if let StepEvent::Log(line) = event {
            self.cx.log(line);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_by_its_last_part() {
        for (file, name) in
            [("a/churn.pkl", "churn.pkl"), ("s3://b/models/churn/", "churn"), ("churn.onnx", "churn.onnx")]
        {
            assert_eq!(named(file), name);
        }
    }

    #[tokio::test]
    async fn a_folder_is_copied_whole_and_a_file_that_is_not_there_is_told() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(from.path().join("data")).unwrap();
        fs::write(from.path().join("MLmodel"), "a").unwrap();
        fs::write(from.path().join("data/model.pkl"), "b").unwrap();
        bring(from.path().to_str().unwrap(), to.path()).await.unwrap();
        assert_eq!(fs::read_to_string(to.path().join("data/model.pkl")).unwrap(), "b");
        for file in ["/nowhere/churn.pkl", "http://a/churn.pkl", "s3://bucket/*.pkl"] {
            let error = bring(file, to.path()).await.unwrap_err();
            assert!(matches!(&error, Error::NoFile(told) if told.contains(file)), "{error}");
        }
    }
}
