//! Pipeline: its schedule, params and steps. What `with` may hold is checked with the step's kind.

use std::time::Duration;

use serde_json::{Map, Value as Json};
use tidemill_core::{AttemptPolicy, InvalidSchedule, RetryPolicy, Schedule};

use super::monitor::timezone;
use crate::{
    Meta, Pipeline, PipelineSchedule, Step,
    expr::cel::unwrap_expression,
    yaml::{
        Data,
        fields::{At, Fields},
    },
};

pub(super) fn pipeline(fields: &mut Fields<'_>, name: String, meta: Meta) -> Option<Pipeline> {
    for later in ["concurrency", "finally", "secrets", "cache"] {
        fields.later(later);
    }
    let schedule = fields.get("schedule").and_then(|at| schedule(&at));
    let zone_at = fields.get("timezone");
    if let (Some(at), Some(_)) = (&zone_at, &schedule) {
        at.key_error(212, "the schedule has the time zone already", "").help("leave one of them out");
    }
    let zone = zone_at.as_ref().and_then(timezone);
    let params = fields.get("params").and_then(|at| at.named_entries()).unwrap_or_default();
    let steps_at = fields.need("steps")?;
    let steps = steps_at.named_entries()?;
    if steps.is_empty() {
        steps_at.error(209, "a pipeline has at least one step");
    }
    let timezone = schedule.as_ref().map(|schedule| schedule.timezone.clone()).or(zone);
    Some(Pipeline {
        name,
        meta,
        schedule,
        timezone: timezone.unwrap_or_else(|| "UTC".to_owned()),
        params: params.into_iter().map(|(name, at)| (name, at.node.to_json())).collect(),
        steps: steps.into_iter().filter_map(|(name, at)| Some((name.clone(), step(&at, &name)?))).collect(),
    })
}

fn schedule(at: &At<'_>) -> Option<PipelineSchedule> {
    if let Data::Scalar { text, .. } = &at.node.data
        && !at.node.is_null()
        && !at.blotted()
    {
        at.error(208, format!("a schedule is a map, not {}", at.node.describe()))
            .help(format!("write `schedule: {{ cron: \"{text}\" }}`"));
        return None;
    }
    let mut fields = at.fields("the schedule")?;
    let cron = fields.need("cron").and_then(|at| cron(&at));
    let zone = fields.get("timezone").map_or(Some("UTC".to_owned()), |at| timezone(&at));
    let catchup = fields.get("catchup").and_then(|at| at.choice(&["all", "last", "none"])).unwrap_or("last");
    let overlap = fields
        .get("overlap")
        .and_then(|at| at.choice(&["skip", "queue_one", "queue_all", "cancel_other", "allow"]))
        .unwrap_or("skip");
    fields.finish();
    let (catchup, overlap) = (catchup.to_owned(), overlap.to_owned());
    Some(PipelineSchedule { cron: cron?, timezone: zone?, catchup, overlap })
}

/// A cron line; one that can't be read is reported, and is one all the same.
pub(super) fn cron(at: &At<'_>) -> Option<String> {
    let cron = at.text()?;
    if let Err(InvalidSchedule::Cron { reason, .. }) = Schedule::new(&cron, "UTC") {
        let reason = reason.lines().last().unwrap_or_default();
        at.error(315, format!("`{cron}` is not a cron line of five fields: {reason}"))
            .help("minute, hour, day of month, month, day of week: \"30 3 * * *\"");
    }
    Some(cron)
}

fn step(at: &At<'_>, name: &str) -> Option<Step> {
    let mut fields = at.fields(format!("step `{name}`"))?;
    let uses = fields.need("uses").and_then(|at| at.text());
    let needs = fields.get("needs").and_then(|at| at.names()).unwrap_or_default();
    let condition = fields.get("if").and_then(|at| at.text());
    let with = fields.get("with").and_then(|at| {
        if let Json::Object(with) = at.node.to_json() {
            Some(with)
        } else {
            at.error(208, "`with` is a map");
            None
        }
    });
    let retry = fields.get("retry").and_then(|at| retry(&at)).unwrap_or_default();
    let timeout = fields.get("timeout").and_then(|at| at.duration());
    // Other steps run within the worker, which has limits of its own.
    if uses.as_deref().is_some_and(|uses| uses != "python") {
        fields.later("resources");
    }
    let (memory_bytes, cpus) = fields.get("resources").and_then(|at| resources(&at)).unwrap_or_default();
    for later in ["map", "trigger", "cache", "priority", "concurrency", "finally", "outputs"] {
        fields.later(later);
    }
    fields.finish();
    Some(Step {
        uses: uses.unwrap_or_default(),
        needs,
        condition: condition.map(|text| unwrap_expression(&text).to_owned()),
        with: with.unwrap_or_else(Map::new),
        policy: AttemptPolicy { retry, timeout, ..AttemptPolicy::default() },
        memory_bytes,
        cpus,
    })
}

fn retry(at: &At<'_>) -> Option<RetryPolicy> {
    const MAX_DELAY: Duration = Duration::from_mins(5);
    let mut fields = at.fields("the retry policy")?;
    let attempts = fields.need("max").and_then(|at| at.int(1, 100));
    let first = fields.get("backoff").and_then(|at| at.duration()).unwrap_or(Duration::from_secs(1));
    let max_elapsed = fields.get("max_elapsed").and_then(|at| at.duration());
    fields.finish();
    let max_attempts = u32::try_from(attempts?).ok()?;
    Some(match max_attempts {
        1 => RetryPolicy::Never,
        _ => RetryPolicy::Exponential { first, max_delay: MAX_DELAY.max(first), max_attempts, max_elapsed },
    })
}

/// Memory in bytes, and threads.
fn resources(at: &At<'_>) -> Option<(Option<u64>, Option<u32>)> {
    let mut fields = at.fields("the resources")?;
    let memory = fields.get("memory").and_then(|at| at.size());
    let cpus = fields.get("cpu").and_then(|at| at.int(1, 1024)).and_then(|cpus| u32::try_from(cpus).ok());
    fields.later("gpu");
    fields.finish();
    Some((memory, cpus))
}
