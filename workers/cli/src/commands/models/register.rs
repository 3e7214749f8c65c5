//! `tidemill models register`: a model file of this machine, or of a bucket, becomes a version.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};
use tidemill_core::Fault;

use crate::{
    args::RegisterArgs,
    client::segment,
    commands::{Session, watch::wait_for},
    failure::{Done, Failure, USAGE},
    output::{self, plain},
};

/// Uploads what is of this machine, starts the registration, and waits for it.
pub(crate) async fn register(session: &Session, args: RegisterArgs) -> Done {
    let RegisterArgs { model, file, sample, promote, no_wait, write } = args;
    let mut body = json!({ "file": named(&file) });
    if is_elsewhere(&file) {
        body["file"] = file.as_str().into();
    } else {
        body["uploaded"] = upload(session, Path::new(&file)).await?.into();
    }
    if let Some(sample) = sample {
        body["sample"] = named(&sample).into();
        if is_elsewhere(&sample) {
            body["sample"] = sample.as_str().into();
        } else {
            body["uploaded_sample"] = put(session, Path::new(&sample)).await?;
        }
    }
    let session = session.writing(&write);
    let path = format!("/v1/models/{}", segment(&model));
    let started = session.client.post(&format!("{path}/register"), &body).await?;
    if no_wait {
        return Ok(output::object(session.format, &started, "/run_id", |run| plain(&run["run_id"]))?);
    }
    let page = wait_for(&session, &plain(&started["run_id"])).await?;
    let mut registered = page["step_list"][0]["outputs"].clone();
    if let Some(alias) = promote {
        let move_to = json!({ "version": registered["version"], "alias": alias });
        let moved = session.client.keyed(None).post(&format!("{path}/promote"), &move_to).await?;
        for name in ["alias", "serving", "waiting"] {
            registered[name] = moved[name].clone();
        }
    }
    Ok(output::object(session.format, &registered, "/version", told)?)
}

fn told(registered: &Value) -> String {
    if registered["alias"].is_string() {
        return super::moved(registered);
    }
    let (model, version) = (plain(&registered["model"]), plain(&registered["version"]));
    format!("{model} v{version} is registered\nlet it answer: tidemill models promote {model} {version}")
}

fn is_elsewhere(file: &str) -> bool {
    file.starts_with("s3://")
}

/// The last part of a path.
fn named(file: &str) -> &str {
    let file = file.trim_end_matches('/');
    file.rsplit('/').next().unwrap_or(file)
}

/// Puts a file, or each file of a folder: their paths and their contents' SHA-256.
async fn upload(session: &Session, file: &Path) -> Result<Map<String, Value>, Failure> {
    if !file.is_dir() {
        let name = named(&file.to_string_lossy()).to_owned();
        return Ok(Map::from_iter([(name, put(session, file).await?)]));
    }
    let mut files = Vec::new();
    listed(file, &mut files).map_err(|error| unreadable(file, &error))?;
    files.sort();
    let mut uploaded = Map::new();
    for path in files {
        let inside = path.strip_prefix(file).unwrap_or(&path).to_string_lossy().into_owned();
        uploaded.insert(inside, put(session, &path).await?);
    }
    Ok(uploaded)
}

async fn put(session: &Session, file: &Path) -> Result<Value, Failure> {
    let opened = tokio::fs::File::open(file).await.map_err(|error| unreadable(file, &error))?;
    Ok(session.client.post_file("/v1/files", opened).await?["sha256"].clone())
}

fn listed(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { listed(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

fn unreadable(file: &Path, error: &std::io::Error) -> Failure {
    Failure::new(USAGE, Fault::coded(101, format!("{} can't be read: {error}", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_command_is_told() {
        let registered = json!({ "model": "churn", "version": 3 });
        let expected = "churn v3 is registered\nlet it answer: tidemill models promote churn 3";
        assert_eq!(told(&registered), expected);
        let promoted =
            json!({ "model": "churn", "version": 3, "alias": "champion", "serving": ["a:1"], "waiting": [] });
        assert_eq!(told(&promoted), "churn v3 → champion\n  ✓ a:1");
    }

    #[test]
    fn every_file_of_a_folder_is_listed() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        for file in ["MLmodel", "data/model.pkl"] {
            fs::write(folder.path().join(file), "").unwrap();
        }
        let mut files = Vec::new();
        listed(folder.path(), &mut files).unwrap();
        files.sort();
        assert_eq!(files, ["MLmodel", "data/model.pkl"].map(|file| folder.path().join(file)));
    }
}
