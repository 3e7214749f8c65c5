//! Floats as integers in the same order, so that one comparison of integers decides a split, NaN or not.
//!
//! Thresholds and values of one model become keys of its library's precision: `u32` for XGBoost, `u64` for LightGBM. Keys
//! that no number has stand for "goes left" and "goes right" whatever the threshold.

/// A number's place in the order of all numbers of one precision.
pub(crate) trait Key: Copy + Ord + Default + std::fmt::Debug + Send + Sync + 'static {
    /// Below every threshold.
    const LEFT: Self;
    /// Above every threshold.
    const RIGHT: Self;
    /// The threshold of leaves: above everything, [`RIGHT`](Self::RIGHT) too.
    const LEAF: Self;

    /// Of a number that is not NaN; both zeros have one.
    fn of(value: f64) -> Self;

    /// The next larger one.
    fn next(self) -> Self;

    /// A category's code, or where a set begins.
    fn code(code: u32) -> Self;

    /// What [`code`](Self::code) was given.
    fn index(self) -> u32;

    /// Adds a leaf as the library does, in its precision.
    fn add(sum: f64, leaf: f64) -> f64;
}

impl Key for u32 {
    const LEFT: Self = 0;
    const RIGHT: Self = Self::MAX - 1;
    const LEAF: Self = Self::MAX;

    #[expect(clippy::cast_possible_truncation, reason = "values of such a model are 32-bit floats already")]
    fn of(value: f64) -> Self {
        // `+ 0.0` makes the negative zero the other one.
        let bits = (value as f32 + 0.0).to_bits();
        if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }
    }

    fn next(self) -> Self {
        self + 1
    }

    fn code(code: u32) -> Self {
        code
    }

    fn index(self) -> u32 {
        self
    }

    #[expect(clippy::cast_possible_truncation, reason = "both are 32-bit floats already")]
    fn add(sum: f64, leaf: f64) -> f64 {
        f64::from(sum as f32 + leaf as f32)
    }
}

impl Key for u64 {
    const LEFT: Self = 0;
    const RIGHT: Self = Self::MAX - 1;
    const LEAF: Self = Self::MAX;

    fn of(value: f64) -> Self {
        let bits = (value + 0.0).to_bits();
        if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
    }

    fn next(self) -> Self {
        self + 1
    }

    fn code(code: u32) -> Self {
        code.into()
    }

    #[expect(clippy::cast_possible_truncation, reason = "it came from 32 bits")]
    fn index(self) -> u32 {
        self as u32
    }

    fn add(sum: f64, leaf: f64) -> f64 {
        sum + leaf
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered<K: Key>(numbers: &[f64]) {
        for pair in numbers.windows(2) {
            assert!(K::of(pair[0]) < K::of(pair[1]), "{pair:?}");
        }
        let (first, last) = (K::of(numbers[0]), K::of(numbers[numbers.len() - 1]));
        assert!(K::LEFT < first && last.next() < K::RIGHT && K::RIGHT < K::LEAF);
        assert_eq!(K::of(0.0), K::of(-0.0));
    }

    #[test]
    fn keys_lie_as_their_numbers_do() {
        let small = f64::from(f32::from_bits(1));
        let numbers = [f64::NEG_INFINITY, -3e38, -1.5, -1.0, -small, 0.0, small, 1.0, 3e38, f64::INFINITY];
        ordered::<u32>(&numbers);
        ordered::<u64>(&numbers);
        ordered::<u64>(&[-f64::MAX, -1.0f64.next_up(), -1.0, 1.0, 1.0f64.next_up(), f64::MAX]);
    }
}
