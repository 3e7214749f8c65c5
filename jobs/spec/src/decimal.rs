//! Exact numbers.

use std::fmt;

use crate::ty::Digits;

/// `unscaled · 10^-scale`. Values of one column have one scale, so numbers of different scales are never equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal {
    scale: u8,
    unscaled: i128,
}

impl Decimal {
    /// So many units of its last digit.
    pub fn new(unscaled: i128, scale: u8) -> Self {
        Self { scale, unscaled }
    }

    /// How many units of its last digit it is.
    pub fn unscaled(self) -> i128 {
        self.unscaled
    }

    /// How many of its digits are after the point.
    pub fn scale(self) -> u8 {
        self.scale
    }

    /// Reads digits; none where they are not of this kind, or would have to be rounded. Zeros at the end don't matter.
    pub fn parse(text: &str, digits: Digits) -> Option<Self> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !(all_digits(whole) && all_digits(fraction)) || whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        let scale = usize::from(digits.scale());
        if fraction.len() > scale || whole.len() + scale > usize::from(digits.precision()) {
            return None;
        }
        let unscaled: i128 = format!("0{whole}{fraction:0<scale$}").parse().ok()?;
        Some(Self::new(if negative { -unscaled } else { unscaled }, digits.scale()))
    }

    /// Their sum, if it has no more digits than there are.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let most = 10_i128.pow(u32::from(Digits::PRECISION_MAX));
        let sum = self.unscaled.checked_add(other.unscaled).filter(|sum| sum.abs() < most)?;
        (self.scale == other.scale).then_some(Self::new(sum, self.scale))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (digits, scale) = (self.unscaled.unsigned_abs().to_string(), usize::from(self.scale));
        let digits = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        let point = if scale == 0 { "" } else { "." };
        f.pad_integral(self.unscaled >= 0, "", &format!("{whole}{point}{fraction}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn digits_are_exact_or_refused() {
        let read = |text| Decimal::parse(text, Digits::new(5, 2).unwrap()).map(|decimal| decimal.to_string());
        for (text, shown) in [
            ("1.5", "1.50"),
            ("-0.05", "-0.05"),
            ("+007", "7.00"),
            (".5", "0.50"),
            ("5.", "5.00"),
            ("999.990000", "999.99"),
            ("-0", "0.00"),
        ] {
            assert_eq!(read(text).as_deref(), Some(shown), "{text}");
        }
        for text in ["", ".", "-", "1.234", "1000", "1e2", "nan", "inf", "1,5", " 1", "--1", "١"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(Decimal::new(-1_234, 0).to_string(), "-1234");
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_as_the_same(
            unscaled in -(10_i128.pow(38) - 1)..10_i128.pow(38), scale in 0_u8..=38,
        ) {
            let decimal = Decimal::new(unscaled, scale);
            prop_assert_eq!(Decimal::parse(&decimal.to_string(), Digits::new(38, scale).unwrap()), Some(decimal));
        }
    }

    #[test]
    fn a_sum_has_no_more_digits_than_there_are() {
        let most = Decimal::new(10_i128.pow(38) - 1, 2);
        assert_eq!(most.checked_add(Decimal::new(1, 2)), None);
        assert_eq!(most.checked_add(Decimal::new(-1, 2)), Some(Decimal::new(10_i128.pow(38) - 2, 2)));
    }
}
