//! Chance for tests that break their input, with a seed that is printed, so that what was found is found again.

use std::{
    fmt::Write as _,
    hash::{BuildHasher as _, RandomState},
    io::Write as _,
};

/// A source of chance: `splitmix64` (Steele, Lea and Flood 2014), small and good enough to choose by.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// Of the variable `TIDEMILL_SEED`, or else another one each time; the seed goes to standard error, past the capture of
    /// tests, for a process that ends can't tell it afterwards.
    pub fn new(test: &str) -> Self {
        let given = std::env::var("TIDEMILL_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(test));
        let _ = writeln!(std::io::stderr(), "{test}: TIDEMILL_SEED={seed}");
        Self(seed)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 where that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.number() % (end.max(1) as u64)).unwrap_or(0)
    }

    /// One of some things.
    pub fn pick<'t, T>(&mut self, things: &'t [T]) -> &'t T {
        &things[self.below(things.len())]
    }

    /// Bytes with something wrong: a bit, a word at its limits, a piece that is missing, doubled or foreign.
    pub fn broken(&mut self, bytes: &[u8]) -> Vec<u8> {
        const WORDS: [u64; 6] = [0, 1, u64::MAX, i64::MAX as u64, 1 << 52, 0xffff_ffff];
        let mut broken = bytes.to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(broken.len());
            let end = (at + 1 + self.below(40)).min(broken.len());
            match self.below(6) {
                0 | 1 if !broken.is_empty() => broken[at] ^= 1 << self.below(8),
                2 => drop(broken.drain(at..end)),
                3 => {
                    let piece = broken[at..end].to_vec();
                    drop(broken.splice(at..at, piece));
                }
                4 => {
                    let word = self.pick(&WORDS).to_le_bytes();
                    for (byte, new) in broken[at..].iter_mut().zip(word) {
                        *byte = new;
                    }
                }
                _ => {
                    let piece = self.text();
                    drop(broken.splice(at..at, piece.into_bytes()));
                }
            }
        }
        broken
    }

    /// A text that parsers trip over.
    pub fn text(&mut self) -> String {
        const TEXTS: [&str; 36] = [
            "",
            "\0",
            "\u{feff}",
            "🦀",
            "\"",
            "'",
            "\\",
            "\n",
            "\r\n",
            "null",
            "true",
            "NaN",
            "-Infinity",
            "1e308",
            "1e400",
            "-0",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551616",
            "0x1",
            "9999-12-31T23:59:59.999999Z",
            "0000-00-00",
            "+262142-12-31",
            "-1",
            "1.5",
            "%00",
            "%ff",
            "../../etc/passwd",
            "'; DROP TABLE runs; --",
            "${{ 1+1 }}",
            "a/b/c",
            "champion",
            "99999999999d",
            "\u{202e}",
            "{}",
            "[]",
        ];
        match self.below(8) {
            0 => {
                let (open, count) =
                    (*self.pick(&["[", "{\"a\":", "(", "<", "\\u0000", "x"]), self.below(3_000));
                open.repeat(count)
            }
            1 => (0..self.below(40)).fold(String::new(), |mut text, _| {
                let _ = write!(
                    text,
                    "{}",
                    char::from_u32(u32::try_from(self.below(0xd800)).unwrap_or(0)).unwrap_or('x')
                );
                text
            }),
            _ => (*self.pick(&TEXTS)).to_owned(),
        }
    }
}

/// The most memory that this process has had, in MiB.
///
/// # Panics
/// Where `/proc` isn't there.
#[expect(clippy::unwrap_used, reason = "for tests alone")]
pub fn memory_peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}
