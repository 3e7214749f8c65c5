//! When what is declared starts by itself: the schedules of pipelines and monitors. Pure.

use tidemill_core::{Time, schedule::Schedule};
use tidemill_spec::{Every, Monitor, ObjectKind, ObjectRef, Objects, Pipeline};
use tidemill_store::NewSchedule;

use crate::Error;

/// Every schedule that a project declares, with its first tick after `now`.
///
/// # Errors
/// A cron line or time zone isn't one, or never ticks.
pub(super) fn schedules(objects: &Objects, now: Time) -> Result<Vec<NewSchedule>, Error> {
    let pipelines = objects.pipelines.values().filter_map(pipeline_schedule);
    pipelines
        .chain(objects.monitors.values().map(monitor_schedule))
        .map(|schedule| Ok(NewSchedule { next_at: first_tick(&schedule, now)?, ..schedule }))
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

fn monitor_schedule(monitor: &Monitor) -> NewSchedule {
    NewSchedule {
        name: ObjectRef::new(ObjectKind::Monitor, &monitor.name).to_string(),
        cron: monitor_cron(monitor.every),
        timezone: monitor.timezone.clone(),
        // Every window is scanned, also those that passed while nothing ran.
        catchup: "all".to_owned(),
        overlap: "allow".to_owned(),
        target: serde_json::json!({ "monitor": monitor.name }),
        next_at: Time::UNIX_EPOCH,
    }
}

fn first_tick(schedule: &NewSchedule, now: Time) -> Result<Time, Error> {
    let invalid =
        |why: &dyn std::fmt::Display| Error::Inconsistent(format!("schedule of {}: {why}", schedule.name));
    let ticks = Schedule::new(&schedule.cron, &schedule.timezone).map_err(|error| invalid(&error))?;
    Ok(ticks.next_after(now).ok_or_else(|| invalid(&"it never ticks"))?.at)
}

/// The ticks at which a monitor's windows end. A length that cron can't say ticks more often; a scan of a window
/// that was scanned before changes nothing.
fn monitor_cron(every: Every) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    match every {
        Every::Months(1) => "0 0 1 * *".to_owned(),
        Every::Months(months) if 12 % months == 0 => format!("0 0 1 */{months} *"),
        Every::Months(_) => "0 0 1 * *".to_owned(),
        Every::Duration(length) => match length.as_secs() {
            seconds if seconds == 7 * DAY => "0 0 * * 1".to_owned(),
            seconds if seconds % DAY == 0 => "0 0 * * *".to_owned(),
            seconds if seconds % HOUR == 0 && DAY.is_multiple_of(seconds) => {
                format!("0 */{} * * *", seconds / HOUR)
            }
            seconds if seconds % HOUR == 0 => "0 * * * *".to_owned(),
            seconds if seconds % MINUTE == 0 && HOUR.is_multiple_of(seconds) => {
                format!("*/{} * * * *", seconds / MINUTE)
            }
            _ => "* * * * *".to_owned(),
        },
    }
}
