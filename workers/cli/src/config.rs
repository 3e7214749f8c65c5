//! Where things are: for commands the running `tidemill dev` of this folder, for roles the environment.
//!
//! Order for commands: flag, environment, the `dev.json` of a running tree in this folder or one above, defaults. Where
//! uploads and predictions go is asked of the server, unless the environment or a running tree says it.

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
    /// Uploads (gRPC), URL; `None`: the server knows.
    pub(crate) gateway: Option<String>,
    /// Predictions (REST), URL; `None`: the server knows.
    pub(crate) serve: Option<String>,
    /// Whether the default port is asked although this folder has a tree of its own, which doesn't run.
    pub(crate) foreign: bool,
}

impl Places {
    /// Finds them.
    ///
    /// # Errors
    /// The `tidemill dev` of this folder is still starting.
    pub(crate) fn find(server: Option<&str>) -> Result<Self, Failure> {
        let (gateway, serve) = (listening("TIDEMILL_GATEWAY__LISTEN"), listening("TIDEMILL_SERVE__HTTP"));
        let named = server.map(str::to_owned).or_else(|| listening("TIDEMILL_SERVER__LISTEN"));
        if let Some(server) = named {
            return Ok(Self { server, gateway, serve, foreign: false });
        }
        let trees = trees_of_this_folder();
        if let Some(tree) = trees.iter().find_map(|tree| Endpoints::find(tree)) {
            return Ok(Self {
                server: url(&tree.server),
                gateway: gateway.or(Some(url(&tree.gateway))),
                serve: serve.or(Some(url(&tree.serve_http))),
                foreign: false,
            });
        }
        if trees.iter().any(|tree| Endpoints::starting(tree)) {
            let fault = Fault::coded(102, "the `tidemill dev` of this folder is still starting");
            return Err(Failure::new(UNREACHABLE, fault.hint("try again in a moment")));
        }
        let foreign = trees.iter().any(|tree| tree.exists());
        Ok(Self { server: url(DEFAULT_SERVER), gateway, serve, foreign })
    }
}

const DEFAULT_SERVER: &str = "127.0.0.1:7433";

/// Where a role listens, as the environment has it.
fn listening(variable: &str) -> Option<String> {
    env::var(variable).ok().map(|address| url(&address))
}

fn url(address: &str) -> String {
    format!("http://{address}")
}

/// Where `tidemill dev` and the demo keep their trees, from this folder upwards.
fn trees_of_this_folder() -> Vec<PathBuf> {
    let here = env::current_dir().unwrap_or_default();
    let trees = |folder: &Path| [".tidemill", ".tidemill/demo/world"].map(|tree| folder.join(tree));
    here.ancestors().flat_map(trees).collect()
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
