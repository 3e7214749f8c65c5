//! Where things are: for commands the running `tidemill dev` of this folder, for roles the environment.
//!
//! Order for commands: flag, environment, the `dev.json` of a running tree in this folder or one above. There is no
//! default: what answers at a fixed port may be anybody's. Where uploads and predictions go is asked of the server, unless
//! the environment or a running tree says it.

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
}

impl Places {
    /// Finds them.
    ///
    /// # Errors
    /// No server is named and none runs in this folder, or it is still starting.
    pub(crate) fn find(server: Option<&str>) -> Result<Self, Failure> {
        let (gateway, serve) = (listening("TIDEMILL_GATEWAY__LISTEN"), listening("TIDEMILL_SERVE__HTTP"));
        let named = server.map(str::to_owned).or_else(|| listening("TIDEMILL_SERVER__LISTEN"));
        if let Some(server) = named {
            return Ok(Self { server, gateway, serve });
        }
        let trees = trees_of_this_folder();
        if let Some(tree) = trees.iter().find_map(|tree| Endpoints::find(tree)) {
            return Ok(Self {
                server: url(&tree.server),
                gateway: gateway.or(Some(url(&tree.gateway))),
                serve: serve.or(Some(url(&tree.serve_http))),
            });
        }
        let unreachable = |message: String, hint: &str| {
            Err(Failure::new(UNREACHABLE, Fault::coded(102, message).hint(hint)))
        };
        if let Some(tree) = trees.iter().find(|tree| Endpoints::starting(tree)) {
            let message = format!("the `tidemill dev` of {} is still starting", tree.display());
            return unreachable(message, "try again in a moment");
        }
        match trees.iter().find(|tree| tree.exists()) {
            Some(tree) => unreachable(
                format!(
                    "the `tidemill dev` of {} is not running, and no other server is named",
                    tree.display()
                ),
                "start it with `tidemill dev`, or name a server: --server http://HOST:PORT or TIDEMILL_SERVER_URL",
            ),
            None => unreachable(
                "no server is named, and no `tidemill dev` runs in this folder or one above".to_owned(),
                "start one here with `tidemill dev`, or name it: --server http://HOST:PORT or TIDEMILL_SERVER_URL",
            ),
        }
    }
}

/// The Kafka of the running tree, `host:port`.
///
/// # Errors
/// No tree runs in this folder, or it has no Kafka.
pub(crate) fn brokers() -> Result<String, Failure> {
    let running = trees_of_this_folder().iter().find_map(|tree| Endpoints::find(tree));
    let message = match &running {
        Some(_) => "the `tidemill dev` of this folder has no Kafka",
        None => "no Kafka is named, and no `tidemill dev` runs in this folder or one above",
    };
    running.and_then(|tree| tree.brokers).ok_or_else(|| {
        let hint = "name one: --brokers HOST:PORT or TIDEMILL_KAFKA__BROKERS; `tidemill dev` has its own once scripts/setup has run";
        Failure::new(UNREACHABLE, Fault::coded(190, message).hint(hint))
    })
}

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
