//! Random numbers that a seed and a few numbers decide, the same on every machine and in every version.
//!
//! `SplitMix64` (Steele, Lea and Flood, 2014, "Fast splittable pseudorandom number generators"). It is not a library's
//! generator, because those may give other numbers after an update, and the same seed has to give the same events.

/// A sequence of random numbers.
#[derive(Clone, Debug)]
pub(crate) struct Draw(u64);

/// The distance of two states: the golden ratio, made odd.
const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

impl Draw {
    /// The sequence that belongs to a seed and to what is drawn for: a topic of its own, and numbers.
    pub(crate) fn of(seed: u64, what: &str, numbers: &[u64]) -> Self {
        let topic =
            what.bytes().fold(mix(seed.wrapping_add(GAMMA)), |state, byte| mix(state ^ u64::from(byte)));
        Self(numbers.iter().fold(topic, |state, number| mix(state ^ mix(number.wrapping_add(GAMMA)))))
    }

    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        mix(self.0)
    }

    /// A number in [0, 1).
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A whole number in [0, bound); 0 for a bound of 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.bits()) * u128::from(bound);
        u64::try_from(product >> 64).expect("below the bound")
    }

    /// True with this probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// The time until something that happens once in `mean`, in its unit (exponential).
    pub(crate) fn wait(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// Puts items in random order (Fisher and Yates).
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = usize::try_from(self.below(last as u64 + 1)).expect("an index");
            items.swap(last, other);
        }
    }
}

fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of `SplitMix64` from state 0, as its authors' program prints them.
    #[test]
    fn numbers_are_those_of_the_paper() {
        let mut draw = Draw(0);
        assert_eq!([draw.bits(), draw.bits()], [0xE220_A839_7B1D_CDAF, 0x6E78_9E6A_A1B9_65F4]);
    }

    #[test]
    fn what_is_drawn_for_decides_as_the_seed_does() {
        let first = |seed, what, numbers: &[u64]| Draw::of(seed, what, numbers).bits();
        let all = [
            first(1, "a", &[1]),
            first(2, "a", &[1]),
            first(1, "b", &[1]),
            first(1, "a", &[2]),
            first(1, "a", &[1, 0]),
        ];
        assert!((1..all.len()).all(|place| !all[..place].contains(&all[place])), "{all:?}");
        assert_eq!(first(1, "a", &[1]), first(1, "a", &[1]));
    }

    #[test]
    fn numbers_fill_their_range() {
        let mut draw = Draw::of(7, "range", &[]);
        let units: Vec<f64> = (0..10_000).map(|_| draw.unit()).collect();
        let mean = units.iter().sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.02 && units.iter().all(|unit| (0.0..1.0).contains(unit)), "{mean}");
        assert!((0..1_000).all(|_| draw.below(3) < 3));
    }
}
