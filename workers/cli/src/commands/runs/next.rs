//! The command that goes on from a run that has ended badly.

use serde_json::Value;

use crate::output::plain;

/// Faults of what a step declares. A run keeps its steps as they were declared, so a retry would meet them again.
const DECLARED: [&str; 3] = ["TM0323", "TM0324", "TM0380"];

/// What to run once the cause is mended.
pub(in crate::commands) fn next(page: &Value) -> String {
    if page["fault"]["code"].as_str().is_some_and(|code| DECLARED.contains(&code)) {
        return format!("tidemill apply && tidemill run {}", plain(&page["pipeline"]));
    }
    format!("tidemill retry {}", plain(&page["id"]))
}
