//! A newtype for each id: time-ordered UUIDs, printed with a prefix (`run_0199…`).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

use crate::Time;

/// The text is not an id of the expected kind.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not an id of the form `{prefix}_…`")]
pub struct InvalidId {
    /// What was given.
    pub text: String,
    /// The prefix that was expected.
    pub prefix: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// What its printed form begins with, before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// A fresh id; later ids sort after earlier ones.
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// When it was generated, to the millisecond; none of what was not generated here.
            pub fn made_at(self) -> Option<Time> {
                let (seconds, nanos) = self.0.get_timestamp()?.to_unix();
                Time::from_timestamp(i64::try_from(seconds).ok()?, nanos)
            }

            /// The bare UUID, as Postgres stores it.
            pub fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}_{}", $prefix, self.0.simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix(concat!($prefix, "_"))
                    .and_then(|rest| Uuid::try_parse(rest).ok())
                    .map(Self)
                    .ok_or_else(|| InvalidId { text: text.to_owned(), prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

id!(/// One execution of a pipeline version, or of a single job.
    RunId, "run");
id!(/// The unit in the queue: one step made ready, or a single job.
    JobId, "job");
id!(/// One worker process.
    WorkerId, "wrk");
id!(/// One accepted file.
    UploadId, "upl");
id!(/// One registered training set.
    DatasetId, "dst");
id!(/// One answered prediction.
    PredictionId, "prd");
id!(/// One request to predict, as logs and failures name it.
    RequestId, "req");
id!(/// One incident.
    IncidentId, "inc");
id!(/// One rollout.
    RolloutId, "rol");

/// The fence of a claim: drawn from a sequence, named by every write under the lease, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseToken(pub i64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_what_it_prints() {
        let id = RunId::generate();
        assert_eq!(id.to_string().parse::<RunId>().unwrap(), id);
        assert!(id.to_string().parse::<JobId>().is_err());
    }

    #[test]
    fn an_id_says_when_it_was_made() {
        let id: PredictionId = "prd_019ad5c2f0b47c0e9f6f1c1f5b1f2a3c".parse().unwrap();
        assert_eq!(id.made_at().unwrap().timestamp_millis(), 0x019a_d5c2_f0b4);
        let random: PredictionId = "prd_6f1c1f5b1f2a4c0e9f6f019ad5c2f0b4".parse().unwrap();
        assert_eq!(random.made_at(), None);
    }

    #[test]
    fn later_ids_sort_after_earlier_ones() {
        let ids: Vec<_> = (0..100).map(|_| JobId::generate()).collect();
        assert!(ids.is_sorted());
    }
}
