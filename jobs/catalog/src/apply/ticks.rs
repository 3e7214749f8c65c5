//! When what is declared starts by itself: the schedules of pipelines and monitors. Pure.

use tidemill_core::{Time, schedule::Schedule};
use tidemill_spec::{Monitor, ObjectKind, ObjectRef, Objects, Pipeline};
use tidemill_store::NewSchedule;

use crate::Error;

/// Every schedule that a project declares, with its first tick after `now`.
///
/// # Errors
/// A cron line or time zone isn't one, or never ticks.
pub(super) fn schedules(objects: &Objects, now: Time) -> Result<Vec<NewSchedule>, Error> {
    let pipelines = objects.pipelines.values().filter_map(pipeline_schedule);
    pipelines
        .map(Ok)
        .chain(objects.monitors.values().map(monitor_schedule))
        .map(|schedule| {
            let schedule = schedule?;
            Ok(NewSchedule { next_at: first_tick(&schedule, now)?, ..schedule })
        })
        .collect()
}

fn pipeline_schedule(pipeline: &Pipeline) -> Option<NewSchedule> {
    pipeline.schedule.as_ref().map(|times| NewSchedule {
        name: ObjectRef::new(ObjectKind::Pipeline, &pipeline.name).to_string(),
        cron: times.cron.clone(),
        timezone: times.timezone.clone(),
        catchup: times.catchup.clone(),
        overlap: times.overlap.clone(),
        target: serde_json::json!({ "pipeline": pipeline.name }),
        next_at: Time::UNIX_EPOCH,
    })
}

fn monitor_schedule(monitor: &Monitor) -> Result<NewSchedule, Error> {
    let name = ObjectRef::new(ObjectKind::Monitor, &monitor.name).to_string();
    let cron = monitor.every.cron();
    Ok(NewSchedule {
        cron: cron.ok_or_else(|| Error::Inconsistent(format!("schedule of {name}: no cron line says it")))?,
        name,
        timezone: monitor.timezone.clone(),
        // Every window is scanned, also those that passed while nothing ran.
        catchup: "all".to_owned(),
        overlap: "allow".to_owned(),
        target: serde_json::json!({ "monitor": monitor.name }),
        next_at: Time::UNIX_EPOCH,
    })
}

fn first_tick(schedule: &NewSchedule, now: Time) -> Result<Time, Error> {
    let invalid =
        |why: &dyn std::fmt::Display| Error::Inconsistent(format!("schedule of {}: {why}", schedule.name));
    let ticks = Schedule::new(&schedule.cron, &schedule.timezone).map_err(|error| invalid(&error))?;
    Ok(ticks.next_after(now).ok_or_else(|| invalid(&"it never ticks"))?.at)
}
