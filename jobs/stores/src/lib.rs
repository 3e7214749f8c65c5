//! Everything a role that runs or starts jobs opens: Postgres, catalog, lake, Redis, object store, Python.
//!
//! [`StoresOptions`] is what the environment says, [`Stores`] what it becomes. Opening is lazy: a server that is down
//! is an error of the first call. The serving tier doesn't use this: it opens Redis and the object store alone.

use std::path::PathBuf;

use anyhow::Context as _;
use serde::Deserialize;
use tidemill_blobs::{BlobOptions, Blobs, private_folder};
use tidemill_catalog::Catalog;
use tidemill_offline::{Lake, LakeOptions};
use tidemill_online::{Online, OnlineOptions};
use tidemill_pyrun::{PyOptions, PyPools};
use tidemill_store::{DatabaseOptions, Store};

/// `TIDEMILL_DATABASE__URL`, `TIDEMILL_REDIS__URL`, `TIDEMILL_BLOBS__URL`, `TIDEMILL_PYTHON`, …
#[derive(Clone, Debug, Deserialize)]
pub struct StoresOptions {
    /// Postgres.
    pub database: DatabaseOptions,
    /// Redis or Valkey.
    pub redis: OnlineOptions,
    /// The object store.
    pub blobs: BlobOptions,
    /// How much of the machine the lake may use.
    #[serde(default)]
    pub lake: LakeOptions,
    /// The interpreter that runs user code.
    #[serde(default = "default_python")]
    pub python: PathBuf,
    /// The folder that holds the Python package `tidemill`, where it is not installed.
    #[serde(default)]
    pub python_package: Option<PathBuf>,
    /// Where code and artifacts are unpacked, a folder that only we may write to; default: below the user's cache.
    #[serde(default = "default_unpacked")]
    pub unpacked: PathBuf,
}

fn default_python() -> PathBuf {
    PathBuf::from("python3")
}

fn default_unpacked() -> PathBuf {
    tidemill_blobs::private_default("unpacked")
}

/// The open stores. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stores {
    /// The engine's state.
    pub store: Store,
    /// Declared objects, registry, lineage.
    pub catalog: Catalog,
    /// Rows.
    pub lake: Lake,
    /// Latest values.
    pub online: Online,
    /// Objects by content.
    pub blobs: Blobs,
    /// How Python is started.
    pub python: PyOptions,
    /// Pools of Python processes, by the code they serve.
    pub pools: PyPools,
    /// Where code and artifacts are unpacked.
    pub unpacked: PathBuf,
}

impl Stores {
    /// Opens everything.
    ///
    /// # Errors
    /// When a URL is not one, others may write to the folder of unpacked code, or DuckDB doesn't start.
    pub fn open(options: &StoresOptions) -> anyhow::Result<Self> {
        private_folder(&options.unpacked).context("TIDEMILL_UNPACKED")?;
        let store = Store::connect(&options.database).context("TIDEMILL_DATABASE__URL")?;
        let blobs = Blobs::open(&options.blobs).context("TIDEMILL_BLOBS__URL")?;
        let lake = Lake::open(&options.lake, store.pool().clone(), blobs.clone()).context("open DuckDB")?;
        let online = Online::connect(&options.redis).context("TIDEMILL_REDIS__URL")?;
        let python = PyOptions {
            python: options.python.clone(),
            package: options.python_package.clone(),
            ..PyOptions::default()
        };
        Ok(Self {
            catalog: Catalog::new(store.clone()),
            store,
            lake,
            online,
            blobs,
            pools: PyPools::new(python.clone()),
            python,
            unpacked: options.unpacked.clone(),
        })
    }

    /// Brings every schema of the database to this version. Safe to repeat and to run from several processes at once.
    pub async fn migrate(&self) -> anyhow::Result<()> {
        self.store.migrate().await.context("schema engine")?;
        self.catalog.migrate().await.context("schema catalog")?;
        self.lake.migrate().await.context("schema lake")
    }
}
