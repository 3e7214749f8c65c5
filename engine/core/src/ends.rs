//! The beginning and the end of something that may be long, in bounded memory: what happened first and why it ended
//! are both there, whatever came between.

use std::collections::VecDeque;

/// The first items and the last ones.
#[derive(Clone, Debug)]
pub struct Ends<T> {
    first: Vec<T>,
    last: VecDeque<T>,
    /// Of each.
    most: usize,
    left_out: usize,
}

impl<T> Ends<T> {
    /// Keeps up to `most` of the first and as many of the last items.
    pub fn new(most: usize) -> Self {
        Self { first: Vec::new(), last: VecDeque::new(), most: most.max(1), left_out: 0 }
    }

    /// Adds an item.
    pub fn push(&mut self, item: T) {
        if self.last.is_empty() && self.first.len() < self.most {
            self.first.push(item);
            return;
        }
        if self.last.len() == self.most {
            self.last.pop_front();
            self.left_out += 1;
        }
        self.last.push_back(item);
    }

    /// How many were left out, between the first and the last.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// The first items, then the last.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(&self.last)
    }

    /// Takes everything out: the first items and the last.
    pub fn take(&mut self) -> (Vec<T>, Vec<T>) {
        self.left_out = 0;
        (std::mem::take(&mut self.first), std::mem::take(&mut self.last).into())
    }

    /// Keeps only items that `wanted` names; those that come next count as first again.
    pub fn retain(&mut self, wanted: impl Fn(&T) -> bool) {
        self.first.retain(&wanted);
        self.last.retain(&wanted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_left_out_and_counted() {
        let mut ends = Ends::new(3);
        (0..10).for_each(|n| ends.push(n));
        assert_eq!(ends.iter().copied().collect::<Vec<_>>(), [0, 1, 2, 7, 8, 9]);
        assert_eq!(ends.left_out(), 4);
        ends.retain(|n| *n > 8);
        ends.push(10);
        assert_eq!(ends.take(), (vec![], vec![9, 10]));
        ends.push(11);
        assert_eq!((ends.left_out(), ends.take()), (0, (vec![11], vec![])));
    }
}
