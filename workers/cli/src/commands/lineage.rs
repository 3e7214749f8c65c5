//! Where something comes from, and what depends on it.

use serde_json::Value;

use super::Session;
use crate::{
    args::LineageArgs,
    failure::Done,
    output::{self, plain},
};

/// `tidemill lineage`
pub(crate) async fn lineage(session: &Session, args: LineageArgs) -> Done {
    let direction = if args.up { Some("up") } else { args.down.then_some("down") };
    let query = [("object", Some(args.object)), ("direction", direction.map(str::to_owned))];
    let lineage = session.client.query("/v1/lineage", &query).await?;
    Ok(output::object(session.format, &lineage, "/object", page)?)
}

fn page(lineage: &Value) -> String {
    let edges = |name: &str| {
        let rows = lineage[name].as_array().cloned().unwrap_or_default();
        rows.iter()
            .map(|edge| format!("  {} → {}\n", plain(&edge["from"]), plain(&edge["to"])))
            .collect::<String>()
    };
    format!("{}\ncomes from\n{}leads to\n{}", plain(&lineage["object"]), edges("up"), edges("down"))
}
