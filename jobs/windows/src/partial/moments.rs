//! How far values lie from their mean: count, mean and the sum of squared distances, which join without cancellation
//! (Chan, Golub and `LeVeque`, "Updating formulae and a pairwise algorithm for computing sample variances", 1979).

use super::bytes::{Damaged, Reader, Writer};

const VERSION: u8 = 1;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Moments {
    count: f64,
    mean: f64,
    /// Sum of the squared distances from the mean.
    squares: f64,
}

impl Moments {
    pub(super) fn add(&mut self, number: f64) {
        self.join(Self { count: 1.0, mean: number, squares: 0.0 });
    }

    pub(super) fn join(&mut self, later: Self) {
        let count = self.count + later.count;
        let distance = later.mean - self.mean;
        self.squares += later.squares + distance * distance * (self.count * later.count / count);
        self.mean += distance * (later.count / count);
        self.count = count;
    }

    /// The deviation of a sample, whose sum of squares is divided by one less than its count.
    pub(super) fn deviation(self) -> Option<f64> {
        (self.count > 1.0).then(|| (self.squares / (self.count - 1.0)).sqrt())
    }

    pub(super) fn write(self) -> String {
        let mut out = Writer::new(VERSION);
        for number in [self.count, self.mean, self.squares] {
            out.float(number);
        }
        out.text()
    }

    pub(super) fn read(text: &str) -> Result<Self, Damaged> {
        let mut from = Reader::new(text, VERSION)?;
        let read = Self { count: from.float()?, mean: from.float()?, squares: from.float()? };
        from.end()?;
        Ok(read)
    }
}
