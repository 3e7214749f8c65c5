//! Where things are: for commands the running `tidemill dev` of this folder, for roles the environment.
//!
//! Order for commands: flag, environment, the `dev.json` of a running tree in this folder or one above, defaults.

use std::{
    env,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use tidemill_core::Fault;
use tidemill_dev::Endpoints;

use crate::failure::{FAILED, Failure, UNREACHABLE};

/// Where commands reach the roles.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// Control plane, URL.
    pub(crate) server: String,
    /// Uploads (gRPC), URL.
    pub(crate) gateway: String,
    /// Predictions (REST), URL.
    pub(crate) serve: String,
    /// Whether the default ports are asked although this folder has a tree of its own, which doesn't run.
    pub(crate) foreign: bool,
}

impl Places {
    /// Finds them.
    ///
    /// # Errors
    /// The `tidemill dev` of this folder is still starting.
    pub(crate) fn find(server: Option<&str>) -> Result<Self, Failure> {
        let running = running_tree();
        let elsewhere = server.is_some() || env::var_os("TIDEMILL_SERVER__LISTEN").is_some();
        if running.is_none() && !elsewhere && trees_of_this_folder().any(|tree| Endpoints::starting(&tree)) {
            let fault = Fault::coded(102, "the `tidemill dev` of this folder is still starting");
            return Err(Failure::new(UNREACHABLE, fault.hint("try again in a moment")));
        }
        let place = |variable: &str, running: Option<&String>, default: &str| {
            let address = env::var(variable).ok().or_else(|| running.cloned());
            format!("http://{}", address.unwrap_or_else(|| default.to_owned()))
        };
        let tree = running.as_ref();
        Ok(Self {
            server: server.map_or_else(
                || place("TIDEMILL_SERVER__LISTEN", tree.map(|tree| &tree.server), "127.0.0.1:7433"),
                str::to_owned,
            ),
            gateway: place("TIDEMILL_GATEWAY__LISTEN", tree.map(|tree| &tree.gateway), "127.0.0.1:7434"),
            serve: place("TIDEMILL_SERVE__HTTP", tree.map(|tree| &tree.serve_http), "127.0.0.1:7436"),
            foreign: running.is_none() && !elsewhere && trees_of_this_folder().any(|tree| tree.exists()),
        })
    }
}

/// The tree of `tidemill dev`, or of the demo, that runs in this folder or one above.
fn running_tree() -> Option<Endpoints> {
    trees_of_this_folder().find_map(|tree| Endpoints::find(&tree))
}

/// Where `tidemill dev` and the demo keep their trees, from this folder upwards.
fn trees_of_this_folder() -> impl Iterator<Item = PathBuf> {
    let here = env::current_dir().unwrap_or_default();
    let folders: Vec<PathBuf> = here.ancestors().map(Path::to_owned).collect();
    folders.into_iter().flat_map(|folder| [".tidemill", ".tidemill/demo/world"].map(|tree| folder.join(tree)))
}

/// A role's options from the environment: `TIDEMILL_DATABASE__URL` is `database.url`.
///
/// Variables that belong to other roles are passed over; unknown fields of a section are errors.
pub(crate) fn options<T: DeserializeOwned>() -> Result<T, Failure> {
    figment::Figment::from(figment::providers::Env::prefixed("TIDEMILL_").split("__")).extract().map_err(
        |error| {
            let path = error.path.join(".");
            let fault = Fault::coded(104, format!("the configuration is not complete: {error}"));
            Failure::new(
                FAILED,
                fault.hint(format!("set TIDEMILL_{}", path.to_uppercase().replace('.', "__"))),
            )
        },
    )
}
