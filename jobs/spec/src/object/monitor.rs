//! Monitors and notifiers: what is watched, against what, and who is told.

use std::time::Duration;

use chrono::{Datelike as _, Days, Months, NaiveDate};
use serde::{Deserialize, Serialize};
use tidemill_core::Time;

use super::Meta;

/// A watch over a model, a source or a view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Monitor {
    /// Its name.
    pub name: String,
    /// Description, owner, tags.
    pub meta: Meta,
    /// What is watched.
    pub target: MonitorTarget,
    /// Window and cadence, on the data clock.
    pub every: Every,
    /// Whose months and midnights; an IANA name.
    #[serde(default = "utc")]
    pub timezone: String,
    /// What the window is compared with.
    pub reference: Reference,
    /// What is judged.
    pub checks: Vec<Check>,
    /// Notifiers by name.
    #[serde(default)]
    pub notify: Vec<String>,
}

/// Calendar months or days in the monitor's time zone, or parts of a day that its clocks show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Every {
    /// Whole calendar months, UTC unless the monitor says otherwise.
    Months(u32),
    /// Whole days of the calendar; or hours or minutes, by the clock: where it is set, a window is longer or shorter.
    Duration(Duration),
}

impl Every {
    /// When windows may end, as a cron line in the monitor's time zone: several days end at every such midnight that
    /// [`Self::ends_on`] says. `None` for a length that doesn't divide the calendar: its windows would overlap or
    /// leave gaps.
    pub fn cron(self) -> Option<String> {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 60 * MINUTE;
        const DAY: u64 = 24 * HOUR;
        let divides = |unit: u64, whole: u64, length: u64| {
            length.is_multiple_of(unit) && whole.is_multiple_of(length) && length < whole
        };
        match self {
            Self::Months(12) => Some("0 0 1 1 *".to_owned()),
            Self::Months(months) if months > 0 && 12 % months == 0 => Some(format!("0 0 1 */{months} *")),
            Self::Months(_) => None,
            Self::Duration(length) if length.subsec_nanos() > 0 => None,
            Self::Duration(length) => match length.as_secs() {
                0 => None,
                seconds if seconds == 7 * DAY => Some("0 0 * * 1".to_owned()),
                seconds if seconds.is_multiple_of(DAY) => Some("0 0 * * *".to_owned()),
                HOUR => Some("0 * * * *".to_owned()),
                seconds if divides(HOUR, DAY, seconds) => Some(format!("0 */{} * * *", seconds / HOUR)),
                seconds if divides(MINUTE, HOUR, seconds) => Some(format!("*/{} * * * *", seconds / MINUTE)),
                _ => None,
            },
        }
    }

    /// Whether a window of whole days or months ends as this day begins. Windows of several days are counted from a
    /// Monday, 5 January 1970, so that all who count agree.
    pub fn ends_on(self, day: NaiveDate) -> bool {
        match self {
            Self::Duration(_) => {
                let days = self.days().and_then(|days| i64::try_from(days).ok()).unwrap_or(1).max(1);
                (i64::from(day.to_epoch_days()) - 4) % days == 0
            }
            Self::Months(months) => day.day() == 1 && day.month0().is_multiple_of(months.max(1)),
        }
    }

    /// The day that begins the window which ends as `end` begins; `None` for windows shorter than a day, and where the
    /// calendar ends.
    pub fn begins_on(self, end: NaiveDate) -> Option<NaiveDate> {
        match self {
            Self::Duration(_) => end.checked_sub_days(Days::new(self.days()?)),
            Self::Months(months) => end.checked_sub_months(Months::new(months)),
        }
    }

    /// Its length in whole days, if it is one.
    fn days(self) -> Option<u64> {
        const DAY: u64 = 24 * 60 * 60;
        match self {
            Self::Duration(length) => {
                let whole = length.as_secs() >= DAY && length.as_secs().is_multiple_of(DAY);
                whole.then_some(length.as_secs() / DAY)
            }
            Self::Months(_) => None,
        }
    }
}

/// What a monitor watches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MonitorTarget {
    /// The predictions, inputs and labels of the champion.
    Model(String),
    /// Rows of a source.
    Source(String),
    /// Rows of a view.
    View(String),
}

/// What a window is compared with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reference {
    /// The training snapshot of the serving version.
    Training,
    /// Rows of a fixed range.
    Range {
        /// First instant.
        from: Time,
        /// First instant after it.
        to: Time,
    },
}

/// One thing that a monitor judges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// A drift score of columns (`prediction` names the model's output).
    Drift {
        /// `psi`, `js` or `ks`.
        measure: String,
        /// Columns.
        columns: Vec<String>,
        /// Above it is shown.
        warn: Option<f64>,
        /// Above it opens an incident.
        fail: f64,
    },
    /// Change of the label's mean against the reference.
    LabelRate {
        /// The label.
        label: String,
        /// Largest absolute change.
        max_change: f64,
    },
    /// Drop of the AUC against the holdout's at registration.
    Auc {
        /// The label.
        label: String,
        /// Largest drop.
        max_drop: f64,
    },
    /// Share of nulls.
    NullRate {
        /// The column.
        column: String,
        /// Largest share.
        max: f64,
    },
    /// Age of the newest row of a source or view at the window's end.
    Freshness {
        /// The source or view.
        object: String,
        /// Largest age.
        max: Duration,
    },
    /// Rows in the window.
    Volume {
        /// Least number.
        min: u64,
    },
}

/// Where incidents are sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notifier {
    /// Its name.
    pub name: String,
    /// Description, owner, tags.
    pub meta: Meta,
    /// A URL, or `${{ secrets.NAME }}`; resolved where it is used, never stored resolved.
    pub webhook_url: String,
}

impl Notifier {
    /// The secret that stands for the address; `None` where the address itself is written.
    pub fn secret(&self) -> Option<&str> {
        let expression = self.webhook_url.trim().strip_prefix("${{")?.strip_suffix("}}")?;
        let name = expression.trim().strip_prefix("secrets.")?;
        let named = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        named.then_some(name)
    }
}

fn utc() -> String {
    "UTC".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_divides_the_calendar_has_a_cron_line() {
        let minutes = |minutes: u64| Every::Duration(Duration::from_mins(minutes)).cron();
        let days = |days: u64| minutes(days * 24 * 60);
        let lines = [minutes(1), minutes(15), minutes(60), minutes(6 * 60), days(1), days(5), days(7)];
        let daily = "0 0 * * *";
        let expected = ["*/1 * * * *", "*/15 * * * *", "0 * * * *", "0 */6 * * *", daily, daily, "0 0 * * 1"];
        assert_eq!(lines.map(Option::unwrap), expected);
        let months = [1, 3, 12].map(|months| Every::Months(months).cron().unwrap());
        assert_eq!(months, ["0 0 1 */1 *", "0 0 1 */3 *", "0 0 1 1 *"]);
        let others = [minutes(0), minutes(7), minutes(90), minutes(5 * 60), minutes(36 * 60)];
        assert_eq!(others, [const { None }; 5]);
        let ends = |every: u64| {
            let every = Every::Duration(Duration::from_hours(24 * every));
            let monday: NaiveDate = "2013-06-03".parse().unwrap();
            let days = monday.iter_days().take(15).filter(|day| every.ends_on(*day));
            days.map(|day| day.format("%-d").to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(ends(1), "3 4 5 6 7 8 9 10 11 12 13 14 15 16 17");
        assert_eq!([ends(7), ends(14), ends(5)], ["3 10 17", "10", "3 8 13"]);
        assert_eq!([0, 5, 24].map(|months| Every::Months(months).cron()), [None, None, None]);
    }
}
