//! Trees as they lie in memory, and the walk through them.
//!
//! All nodes are in one array, the two children of a node side by side: the next node is `left + goes_right`, without a
//! branch. A leaf leads to itself. Several trees are walked at once, since each step of one waits for memory; leaves are
//! added in the trees' order, for sums of floats depend on it.
//!
//! A row is laid out once, into *slots*: a column's value as the splits of one kind see it, with what is missing in place
//! already (`Seen`). So no step asks whether a value is missing. Categorical splits look their code up in a set.

use std::collections::{HashMap, VecDeque};

use crate::{Error, key::Key};

/// Trees that are walked at once.
const LANES: usize = 8;
/// Rows that go through the same trees before the next ones are fetched.
pub(crate) const BLOCK: usize = 32;
/// Marks the slot of a categorical split.
const SET: u32 = 1 << 31;
/// Words of all sets of categories, 32 categories each: 256 MiB.
const SETS_MAX: usize = 1 << 26;
/// The largest category that XGBoost knows, and one: whole numbers above it are no longer told apart (common/categorical.h).
const XGBOOST_CATEGORIES: f64 = 16_777_216.0;

/// A tree as its file has it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Grown<K> {
    /// What it adds.
    Leaf(f64),
    /// Where a row goes on: places in the tree.
    Split { feature: usize, test: Test<K>, left: usize, right: usize },
}

/// What sends a row to the left.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Test<K> {
    /// A key below this one.
    Below(K, Seen),
    /// A category whose bit is set; one beyond the words is treated as the forest says.
    In(Vec<u32>, Seen),
}

/// How splits of one kind see a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Seen {
    /// NaN is 0.
    Zero,
    /// NaN goes left, or right.
    Missing { left: bool },
    /// NaN and 0 go left, or right.
    MissingOrZero { left: bool },
    /// XGBoost's category; NaN goes left, or right, and what is none to the left.
    XgboostCategory { left: bool },
    /// LightGBM's category; NaN and what is none to the right.
    LightgbmCategory,
}

/// The trees of one model.
#[derive(Debug)]
pub(crate) struct Forest<K> {
    nodes: Vec<Node<K>>,
    /// For each node that is a leaf what it adds.
    leaves: Vec<f64>,
    /// Where each tree begins and which output it adds to.
    trees: Vec<(u32, u32)>,
    groups: Vec<Group>,
    slots: Vec<(usize, Seen)>,
    slot_of: HashMap<(usize, Seen), u32>,
    /// The bits of all sets; each is led by the number of its words.
    sets: Vec<u32>,
    /// Whether a category beyond a set's words goes left.
    beyond_left: bool,
}

#[derive(Clone, Copy, Debug)]
struct Node<K> {
    /// Goes right from here on; of a categorical split, where its set begins.
    key: K,
    slot: u32,
    left: u32,
}

/// Trees that are walked together.
#[derive(Clone, Debug, Default)]
struct Group {
    roots: [u32; LANES],
    outputs: [u32; LANES],
    trees: usize,
    depth: u32,
    sets: bool,
}

impl<K: Key> Forest<K> {
    pub(crate) fn new(beyond_left: bool) -> Self {
        // The first node is a leaf, for lanes without a tree; the first slot is there for leaves.
        Self {
            nodes: vec![Node { key: K::LEAF, slot: 0, left: 0 }],
            leaves: vec![0.0],
            trees: Vec::new(),
            groups: Vec::new(),
            slots: vec![(0, Seen::Zero)],
            slot_of: HashMap::new(),
            sets: Vec::new(),
            beyond_left,
        }
    }

    pub(crate) fn trees(&self) -> usize {
        self.trees.len()
    }

    /// Adds a tree, its root first, that counts for `output`.
    pub(crate) fn plant(&mut self, tree: &[Grown<K>], output: usize) -> Result<(), Error> {
        let place = format!("tree {}", self.trees.len());
        let malformed = |problem| Error::malformed(&*place, problem);
        let root = u32_of(self.nodes.len())?;
        let mut order = VecDeque::from([(0usize, root, 1u32)]);
        self.nodes.push(self.nodes[0]);
        self.leaves.push(0.0);
        let (mut depth, mut sets, mut met) = (0, false, 0);
        while let Some((at, place, level)) = order.pop_front() {
            met += 1;
            if met > tree.len() {
                return Err(malformed("its nodes lead in a circle"));
            }
            match tree.get(at).ok_or_else(|| malformed("a child is none of its nodes"))? {
                Grown::Leaf(value) => {
                    self.nodes[place as usize] = Node { key: K::LEAF, slot: 0, left: place };
                    self.leaves[place as usize] = *value;
                }
                Grown::Split { feature, test, left, right } => {
                    let children = u32_of(self.nodes.len())?;
                    self.nodes.extend([self.nodes[0]; 2]);
                    self.leaves.extend([0.0; 2]);
                    let (key, slot) = match test {
                        Test::Below(key, seen) => (*key, self.slot(*feature, *seen)?),
                        Test::In(words, seen) => {
                            sets = true;
                            (self.set(words)?, self.slot(*feature, *seen)? | SET)
                        }
                    };
                    self.nodes[place as usize] = Node { key, slot, left: children };
                    order.extend([(*left, children, level + 1), (*right, children + 1, level + 1)]);
                    depth = depth.max(level);
                }
            }
        }
        let output = u32_of(output)?;
        self.trees.push((root, output));
        if self.groups.last().is_none_or(|group| group.trees == LANES) {
            self.groups.push(Group::default());
        }
        if let Some(group) = self.groups.last_mut() {
            (group.roots[group.trees], group.outputs[group.trees]) = (root, output);
            group.trees += 1;
            group.depth = group.depth.max(depth);
            group.sets |= sets;
        }
        Ok(())
    }

    /// Adds each row's leaves to its sums. `rows`: `[rows × features]`, `sums`: `[rows × outputs]`, both row-major.
    pub(crate) fn add(&self, rows: &[f64], features: usize, sums: &mut [f64], outputs: usize) {
        let width = self.slots.len();
        let mut keys = vec![K::LEFT; width * BLOCK.min(sums.len() / outputs)];
        let blocks = rows.chunks(features.max(1) * BLOCK).zip(sums.chunks_mut(outputs * BLOCK));
        for (rows, sums) in blocks {
            for (row, keys) in rows.chunks_exact(features).zip(keys.chunks_exact_mut(width)) {
                self.lay_out(row, keys);
            }
            for group in &self.groups {
                for (sums, keys) in sums.chunks_exact_mut(outputs).zip(keys.chunks_exact(width)) {
                    let leaves = if group.sets {
                        self.walk::<true>(group, keys)
                    } else {
                        self.walk::<false>(group, keys)
                    };
                    for (leaf, output) in leaves.iter().zip(&group.outputs).take(group.trees) {
                        let sum = &mut sums[*output as usize];
                        *sum = K::add(*sum, self.leaves[*leaf as usize]);
                    }
                }
            }
        }
    }

    fn walk<const SETS: bool>(&self, group: &Group, keys: &[K]) -> [u32; LANES] {
        let nodes = self.nodes.as_slice();
        let mut at = group.roots;
        for _ in 0..group.depth {
            let mut moved = 0;
            for at in &mut at {
                let node = &nodes[*at as usize];
                let right = if SETS && node.slot & SET != 0 {
                    !self.is_left(node, keys[(node.slot & !SET) as usize])
                } else {
                    keys[node.slot as usize] >= node.key
                };
                let next = node.left + u32::from(right);
                moved |= next ^ *at;
                *at = next;
            }
            if moved == 0 {
                break;
            }
        }
        at
    }

    fn is_left(&self, node: &Node<K>, code: K) -> bool {
        if code == K::RIGHT || code == K::LEFT {
            return code == K::LEFT;
        }
        // Codes are kept one higher, since 0 goes left.
        let (set, code) = (node.key.index() as usize, code.index() - 1);
        let word = (code / 32) as usize;
        if word < self.sets[set] as usize {
            self.sets[set + 1 + word] >> (code % 32) & 1 == 1
        } else {
            self.beyond_left
        }
    }

    fn lay_out(&self, row: &[f64], keys: &mut [K]) {
        let side = |left| if left { K::LEFT } else { K::RIGHT };
        for ((feature, seen), key) in self.slots.iter().zip(keys) {
            let value = row.get(*feature).copied().unwrap_or(f64::NAN);
            *key = match *seen {
                Seen::Zero if value.is_nan() => K::of(0.0),
                Seen::Missing { left } if value.is_nan() => side(left),
                Seen::MissingOrZero { left } if value.is_nan() || value == 0.0 => side(left),
                Seen::Zero | Seen::Missing { .. } | Seen::MissingOrZero { .. } => K::of(value),
                Seen::XgboostCategory { left } if value.is_nan() => side(left),
                Seen::XgboostCategory { .. } if !(0.0..XGBOOST_CATEGORIES).contains(&value) => side(true),
                // As in C, where NaN and what no `int` holds become the smallest one.
                Seen::LightgbmCategory if value.is_nan() || value <= -1.0 || value >= 2_147_483_648.0 => {
                    side(false)
                }
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "between -1 and 2^31, cut as the libraries do"
                )]
                Seen::XgboostCategory { .. } | Seen::LightgbmCategory => K::code(value as u32 + 1),
            };
        }
    }

    fn slot(&mut self, feature: usize, seen: Seen) -> Result<u32, Error> {
        if let Some(slot) = self.slot_of.get(&(feature, seen)) {
            return Ok(*slot);
        }
        let slot = u32_of(self.slots.len())?;
        self.slots.push((feature, seen));
        self.slot_of.insert((feature, seen), slot);
        Ok(slot)
    }

    fn set(&mut self, words: &[u32]) -> Result<K, Error> {
        if self.sets.len() + words.len() > SETS_MAX {
            return Err(Error::unsupported("sets of so many categories"));
        }
        let start = u32_of(self.sets.len())?;
        self.sets.push(u32_of(words.len())?);
        self.sets.extend(words);
        Ok(K::code(start))
    }
}

/// Places fit half of 32 bits.
fn u32_of(number: usize) -> Result<u32, Error> {
    let place = u32::try_from(number).ok().filter(|place| *place < SET);
    place.ok_or_else(|| Error::unsupported("a model of more than two thousand million nodes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(feature: usize, test: Test<u64>, left: usize, right: usize) -> Grown<u64> {
        Grown::Split { feature, test, left, right }
    }

    fn at_most(threshold: f64, seen: Seen) -> Test<u64> {
        Test::Below(u64::of(threshold).next(), seen)
    }

    fn sum(forest: &Forest<u64>, row: &[f64]) -> f64 {
        let mut sums = [0.0];
        forest.add(row, row.len(), &mut sums, 1);
        sums[0]
    }

    #[track_caller]
    fn check(test: Test<u64>, value: f64, left: bool) {
        let mut forest = Forest::new(false);
        forest.plant(&[split(0, test.clone(), 1, 2), Grown::Leaf(1.0), Grown::Leaf(2.0)], 0).unwrap();
        assert_eq!(sum(&forest, &[value]), if left { 1.0 } else { 2.0 }, "{test:?} {value}");
    }

    #[test]
    fn what_is_missing_goes_where_its_split_says() {
        for left in [true, false] {
            check(at_most(1.0, Seen::Missing { left }), f64::NAN, left);
            check(at_most(1.0, Seen::Missing { left }), 0.0, true);
            check(at_most(-1.0, Seen::MissingOrZero { left }), f64::NAN, left);
            check(at_most(-1.0, Seen::MissingOrZero { left }), -0.0, left);
            check(at_most(-1.0, Seen::MissingOrZero { left }), 1e-30, false);
        }
        check(at_most(-1.0, Seen::Zero), f64::NAN, false);
        check(at_most(0.0, Seen::Zero), f64::NAN, true);
    }

    #[test]
    fn an_infinite_threshold_takes_all_that_is_there_and_nothing_that_is_missing() {
        let all = at_most(f64::INFINITY, Seen::Missing { left: false });
        for value in [f64::NEG_INFINITY, -1.0, 0.0, f64::MAX, f64::INFINITY] {
            check(all.clone(), value, true);
        }
        check(all, f64::NAN, false);
    }

    #[test]
    fn thresholds_are_met_exactly() {
        let test = at_most(0.1, Seen::Zero);
        check(test.clone(), 0.1, true);
        check(test.clone(), 0.1f64.next_up(), false);
        check(test, 0.1f64.next_down(), true);
    }

    #[test]
    fn categories_are_looked_up_and_others_go_right() {
        let set = Test::In(vec![0b101, 1], Seen::LightgbmCategory);
        for (value, left) in [
            (0.0, true),
            (-0.5, true),
            (1.0, false),
            (2.9, true),
            (32.0, true),
            (33.0, false),
            (64.0, false),
            (-1.0, false),
            (f64::NAN, false),
            (1e300, false),
            (4_294_967_296.0, false),
        ] {
            check(set.clone(), value, left);
        }
    }

    #[test]
    fn leaves_are_added_in_the_trees_order_however_deep_they_lie() {
        let values = [1e16, 1.0, -1e16, 0.1, 0.2, 0.3, 7.0, -3.0, 1e-9, 5.0];
        let mut forest = Forest::new(false);
        for (place, value) in values.iter().enumerate() {
            // A chain as deep as its place.
            let mut tree = Vec::new();
            for level in 0..place {
                tree.push(split(0, at_most(100.0, Seen::Zero), 2 * level + 2, 2 * level + 1));
                tree.push(Grown::Leaf(f64::NAN));
            }
            tree.push(Grown::Leaf(*value));
            forest.plant(&tree, 0).unwrap();
        }
        let expected = values.iter().fold(0.0, |sum, value| sum + value);
        assert_eq!(sum(&forest, &[3.0]).to_bits(), expected.to_bits());
    }

    #[test]
    fn a_tree_that_leads_nowhere_or_in_a_circle_is_refused() {
        let check = |tree: &[Grown<u64>], told: &str| {
            assert_eq!(Forest::new(false).plant(tree, 0).unwrap_err().to_string(), told);
        };
        check(&[], "tree 0: its nodes lead in a circle");
        check(&[split(0, at_most(1.0, Seen::Zero), 0, 0)], "tree 0: its nodes lead in a circle");
        check(
            &[split(0, at_most(1.0, Seen::Zero), 1, 7), Grown::Leaf(1.0), Grown::Leaf(1.0)],
            "tree 0: a child is none of its nodes",
        );
    }
}
