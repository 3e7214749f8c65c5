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
    let mut lineage = session.client.query("/v1/lineage", &query).await?;
    let unasked = if args.up { Some("down") } else { args.down.then_some("up") };
    if let (Some(unasked), Some(fields)) = (unasked, lineage.as_object_mut()) {
        fields.remove(unasked);
    }
    Ok(output::object(session.format, &lineage, "/object", page)?)
}

fn page(lineage: &Value) -> String {
    let edges = |name: &str| {
        let rows = lineage[name].as_array().map(Vec::as_slice).unwrap_or_default();
        let line = |edge: &Value| format!("  {} → {}\n", plain(&edge["from"]), plain(&edge["to"]));
        if rows.is_empty() { "  nothing\n".to_owned() } else { rows.iter().map(line).collect() }
    };
    let part = |title: &str, name: &str| match lineage.get(name) {
        Some(_) => format!("{title}\n{}", edges(name)),
        None => String::new(),
    };
    format!("{}\n{}{}", plain(&lineage["object"]), part("comes from", "up"), part("leads to", "down"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_ways_are_told_and_only_what_was_asked_for() {
        let edge = json!({ "from": "source/a", "to": "view/b@1" });
        insta::assert_snapshot!(page(&json!({ "object": "view/b", "up": [edge], "down": [] })), @r"
        view/b
        comes from
          source/a → view/b@1
        leads to
          nothing
        ");
        assert!(!page(&json!({ "object": "view/b", "up": [] })).contains("leads to"));
    }
}
