//! Who the users are: how active, how willing to buy, and when they fall silent for good.

use std::fmt::Write as _;

use chrono::TimeDelta;
use tidemill_core::Time;

use super::written;
use crate::draw::Draw;

/// Days after which a user falls silent, in the mean.
const SILENT_AFTER_DAYS: f64 = 120.0;
/// Days before that, in which a user comes less than half as often.
const FADING_DAYS: f64 = 10.0;
/// How often somebody else is drawn in the place of a user who is silent, before whoever is drawn comes back.
const DRAWS_MAX: usize = 64;
/// What part of all users each file after the first tells anew.
const TOLD_ANEW: f64 = 0.02;
const COUNTRIES: [&str; 6] = ["DE", "FR", "NO", "PL", "SE", "US"];

/// The users of a seed. Their ids are 1 to `users`.
#[derive(Clone, Copy, Debug)]
pub struct Population {
    /// Decides everything.
    pub seed: u64,
    /// How many there are, at least 1.
    pub users: u32,
    /// When all of them were still there. Runs that name the same moment have the same users silent.
    pub since: Time,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Person {
    /// The probability that a visit ends in a purchase, if it is long enough.
    pub(super) buys: f64,
    age: u64,
    country: &'static str,
    signed_up_at: Time,
    /// From then on nothing comes any more.
    pub(super) silent_at: Time,
}

impl Population {
    /// Somebody who visits the shop at `at`: a few come often, most come seldom, and who is silent does not come.
    pub(super) fn visitor(&self, draw: &mut Draw, at: Time) -> u32 {
        let mut user_id = 1;
        for _ in 0..DRAWS_MAX {
            user_id = self.by_activity(draw.unit());
            let silent_at = self.person(user_id).silent_at;
            let fading = at > silent_at - days(FADING_DAYS);
            if at < silent_at && !(fading && draw.chance(0.6)) {
                break;
            }
        }
        user_id
    }

    /// Users by how active they are: `drawn` is in [0, 1), and its power makes a tenth of them come for more than a quarter
    /// of the visits. Ids tell nothing of it.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank among the users")]
    fn by_activity(&self, drawn: f64) -> u32 {
        let rank = (drawn.powf(1.8) * f64::from(self.users)) as u64;
        let users = u64::from(self.users);
        let mut draw = Draw::of(self.seed, "ids", &[]);
        let (drawn, first) = (draw.below(users), draw.below(users));
        let step =
            (drawn..=drawn + users).find(|step| coprime(*step, users)).expect("one beyond a multiple is");
        1 + u32::try_from((rank * step + first) % users).expect("fewer users than that")
    }

    pub(super) fn person(&self, user_id: u32) -> Person {
        let mut draw = Draw::of(self.seed, "person", &[u64::from(user_id)]);
        let age = 18 + draw.below(35) + draw.below(30);
        let keen = draw.unit();
        let grown = if (30..55).contains(&age) { 1.4 } else { 0.8 };
        Person {
            buys: (0.02 + 0.6 * keen * keen * keen) * grown,
            age,
            country: COUNTRIES[usize::try_from(draw.below(COUNTRIES.len() as u64)).expect("an index")],
            signed_up_at: self.since - days(1.0 + draw.wait(200.0)),
            silent_at: self.since + days(draw.wait(SILENT_AFTER_DAYS)),
        }
    }

    /// A file about users in CSV, as of `at`, and its rows. File 0 tells all of them: one age in eight is missing, and a
    /// few are wrong. Each later one tells a fiftieth anew, with the right age.
    pub fn file(&self, number: u64, at: Time) -> (String, u64) {
        let mut text = "user_id,age,country,signed_up_at,updated_at\n".to_owned();
        let mut rows = 0;
        for user_id in 1..=self.users {
            let mut draw = Draw::of(self.seed, "file", &[number, u64::from(user_id)]);
            if number > 0 && !draw.chance(TOLD_ANEW) {
                continue;
            }
            let Person { age, country, signed_up_at, .. } = self.person(user_id);
            let told = match draw.unit() {
                drawn if number == 0 && drawn < 0.125 => String::new(),
                drawn if number == 0 && drawn < 0.155 => (age + 10).to_string(),
                _ => age.to_string(),
            };
            let _ = writeln!(text, "{user_id},{told},{country},{},{}", written(signed_up_at), written(at));
            rows += 1;
        }
        (text, rows)
    }
}

fn coprime(mut a: u64, mut b: u64) -> bool {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a == 1
}

#[expect(clippy::cast_possible_truncation, reason = "a span of some years")]
fn days(days: f64) -> TimeDelta {
    TimeDelta::microseconds((days * 86_400e6) as i64)
}
