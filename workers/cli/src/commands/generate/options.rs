//! What to generate, from what was typed.

use chrono::{NaiveDate, TimeDelta};
use tidemill_core::Time;
use tidemill_generate::{Population, Shares, Timeline};
use tidemill_spec::units::parse_duration;

use crate::{args::UsersArgs, failure::Failure};

/// Events a second, where nothing else is said.
const RATE: f64 = 100.0;

/// What users do, when, and how fast it is sent.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) population: Population,
    pub(super) timeline: Timeline,
    pub(super) shares: Shares,
    /// Events; `None`: until Ctrl-C.
    pub(super) rows: Option<u64>,
    /// Events a second; `None`: as many as there is room for.
    pub(super) rate: Option<f64>,
}

/// The plan of a command at `now`.
///
/// # Errors
/// Options that say nothing, or contradict each other.
pub(super) fn plan(args: &UsersArgs, now: Time) -> Result<Plan, Failure> {
    let from = moment("--from", &args.from, now)?;
    let to = args.to.as_deref().map(|to| moment("--to", to, now)).transpose()?;
    let since = args.since.as_deref().map_or(Ok(from), |since| moment("--since", since, now))?;
    let rate = args.rate.unwrap_or(RATE);
    let rows = args.rows.or(args.duration.map(|duration| events(duration.as_secs_f64(), rate)));
    if args.to_file.is_some() && rows.is_none() {
        return Err(Failure::usage("a file has an end", "say how many events it has, e.g. --rows 100000"));
    }
    let timeline = match to {
        None => Timeline::at_rate(from, rate),
        Some(to) if to <= from => {
            return Err(Failure::usage(
                format!("--to {to} is not after --from {from}"),
                "write the earlier moment as --from, e.g. --from 60d --to now",
            ));
        }
        Some(to) => Timeline::over(from, to, rows.unwrap_or_default()),
    };
    let shares = Shares {
        late: args.late,
        doubled: args.duplicates,
        out_of_order: args.out_of_order,
        malformed: args.malformed,
    };
    if shares.late + shares.doubled + shares.out_of_order + shares.malformed > 1.0 {
        return Err(Failure::usage(
            "the shares are more than all events",
            "--late, --duplicates, --out-of-order and --malformed may be 1 together",
        ));
    }
    let population = Population { seed: args.seed, users: args.users, since };
    Ok(Plan { population, timeline, shares, rows, rate: args.rate.or(to.is_none().then_some(RATE)) })
}

/// `2026-03-01T08:00:00Z`, `2026-03-01` (its midnight in UTC), `60d` (so long ago), or `now`.
pub(super) fn moment(option: &str, text: &str, now: Time) -> Result<Time, Failure> {
    let instant = || chrono::DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc());
    let date = || Some(text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0)?.and_utc());
    let age = || now.checked_sub_signed(TimeDelta::from_std(parse_duration(text)?).ok()?);
    let found = if text == "now" { Some(now) } else { instant().or_else(date).or_else(age) };
    found.ok_or_else(|| {
        Failure::usage(
            format!("`{option} {text}` is not a time"),
            "write an instant (2026-03-01T08:00:00Z), a date (2026-03-01), an age (60d), or now",
        )
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number of events, at least one"
)]
fn events(seconds: f64, rate: f64) -> u64 {
    (seconds * rate).ceil() as u64
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command, Generate};

    fn planned(options: &str) -> Result<Plan, String> {
        let words = ["tidemill", "generate", "users"].into_iter().chain(options.split_whitespace());
        let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
        let Command::Generate(Generate::Users(args)) = cli.command else { panic!("another command") };
        plan(&args, "2026-03-31T00:00:00Z".parse().unwrap()).map_err(|failure| failure.fault.message.clone())
    }

    #[test]
    fn without_options_events_happen_as_they_are_sent() {
        let plan = planned("").unwrap();
        assert_eq!((plan.rows, plan.rate), (None, Some(100.0)));
        assert_eq!(plan.timeline.at(100).to_rfc3339(), "2026-03-31T00:00:01+00:00");
    }

    #[test]
    fn a_history_is_spread_over_its_time_and_sent_at_once() {
        let plan = planned("--from 30d --to now --rows 720").unwrap();
        assert_eq!(plan.rate, None);
        assert_eq!(plan.timeline.at(1).to_rfc3339(), "2026-03-01T01:00:00+00:00");
        assert_eq!(planned("--from 2026-03-01 --to now --rows 720 --rate 9").unwrap().rate, Some(9.0));
        assert_eq!(planned("--duration 2m --rate 10").unwrap().rows, Some(1_200));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (options, said) in [
            ("--from now --to 30d --rows 9", "is not after"),
            ("--to now", "--rows"),
            ("--from soon", "`--from soon` is not a time"),
            ("--late 0.6 --malformed 0.6", "more than all events"),
            ("--late 2", "a share from 0 to 1"),
            ("--to-file users.jsonl", "a file has an end"),
            ("--rows 9 --duration 9s", "cannot be used with"),
        ] {
            let refused = planned(options).unwrap_err();
            assert!(refused.contains(said), "{options}: {refused}");
        }
    }
}
