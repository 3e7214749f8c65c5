//! Where the values of a view version lie: in a fixed number of hashes, the shards.
//!
//! An entity is a field of the shard that its name falls into. A shard holds one hash for each view version,
//! `{prefix}:values:{TAG}:{view}:{version}`, and one of markers, `{prefix}:markers:{TAG}`. What is in braces is what a
//! Cluster distributes keys by: so a shard is on one server as a whole, and is lost or older as a whole, which its own
//! markers tell. A single server has the same shards: what is written there can be moved.

use crate::key::Name;

/// Fewer would leave servers of a large Cluster without any; with more, looking at the markers of all costs more than it
/// tells. Never to be changed without another name of the hashes: an entity would be looked for where it is not.
pub(crate) const SHARDS: usize = 32;

/// What the shards are called: numbers whose slots lie evenly among the 16,384 of a Cluster, so that each of its servers
/// has as many shards as another one, give or take one.
const TAGS: [&str; SHARDS] = [
    "973", "1645", "25", "1755", "180", "1288", "1006", "1398", "1653", "293", "138", "383", "1556", "1025",
    "1446", "1135", "1040", "348", "1150", "258", "63", "168", "935", "695", "496", "708", "586", "618",
    "793", "528", "1730", "40",
];

/// Part of what an installation holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Shard(usize);

impl Shard {
    /// One of them.
    pub(crate) const ANY: Self = Self(0);

    /// All of them.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..SHARDS).map(Self)
    }

    /// The one that holds an entity's values, in every view.
    pub(crate) fn of(name: &Name) -> Self {
        Self(usize::from(crc16(name.as_str())) % SHARDS)
    }

    /// The hash of a view version's values.
    pub(crate) fn values(self, prefix: &str, view: &str, version: u32) -> String {
        format!("{prefix}:values:{{{}}}:{view}:{version}", TAGS[self.0])
    }

    /// The hash of markers.
    pub(crate) fn markers(self, prefix: &str) -> String {
        format!("{prefix}:markers:{{{}}}", TAGS[self.0])
    }
}

/// The checksum that a Cluster distributes keys by: CRC-16/XMODEM (Redis Cluster specification, appendix A).
fn crc16(text: &str) -> u16 {
    text.bytes().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tidemill_spec::Value;

    use super::*;

    #[test]
    fn servers_of_a_cluster_have_as_many_shards_as_one_another() {
        assert_eq!(crc16("123456789"), 0x31c3, "the check value of the algorithm");
        for servers in 1..=SHARDS {
            let mut held = vec![0; servers];
            for tag in TAGS {
                held[usize::from(crc16(tag) % 16_384) * servers / 16_384] += 1;
            }
            let (least, most) = (held.iter().min().unwrap(), held.iter().max().unwrap());
            assert!(most - least <= 1, "{servers}: {held:?}");
        }
    }

    #[test]
    fn entities_are_spread_and_stay_where_they_are() {
        let name = |number: i64| Name::of(&[Value::Int(number)]).unwrap();
        let mut held: BTreeMap<Shard, usize> = BTreeMap::new();
        for number in 0..32_000 {
            *held.entry(Shard::of(&name(number))).or_default() += 1;
        }
        assert!(held.len() == SHARDS && held.values().all(|held| (800..1_200).contains(held)), "{held:?}");
        // Where it was yesterday.
        assert_eq!(Shard::of(&name(7)).values("tidemill", "load", 2), "tidemill:values:{63}:load:2");
    }
}
