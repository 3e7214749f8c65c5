//! LightGBM's text format, versions 3 and 4, as `Booster.save_model` writes it.
//!
//! A header of `key=value` lines, a block of such lines for each tree, `end of trees`, and what training wants to remember.
//! An early-stopped model is saved with its best rounds alone, so all trees of a file count.

use std::collections::HashMap;

use crate::{
    Error,
    forest::{Forest, Grown, Seen, Test},
    key::Key as _,
    link::{Link, OUTPUTS_MAX},
};

/// What is nearer to 0 is 0 (`kZeroThreshold`, a 32-bit float).
pub(crate) const ZERO: f64 = 1.000_000_018_002_509_5e-35;

/// A file's model.
#[derive(Debug)]
pub(crate) struct Lightgbm {
    pub(crate) forest: Forest<u64>,
    pub(crate) link: Link,
    /// Sums of a row.
    pub(crate) outputs: usize,
    /// What each sum is divided by: the rounds, of a random forest.
    pub(crate) divisor: Option<f64>,
    pub(crate) names: Vec<String>,
    /// Of each column that was a category of pandas: its values.
    pub(crate) categories: Vec<Vec<serde_json::Value>>,
}

type Fields<'a> = HashMap<&'a str, &'a str>;

impl Lightgbm {
    pub(crate) fn read(text: &str) -> Result<Self, Error> {
        let (model, rest) = text
            .split_once("\nend of trees")
            .ok_or_else(|| Error::malformed("model", "the line `end of trees` is missing"))?;
        let mut blocks = model.split("\nTree=");
        let header = blocks.next().unwrap_or_default();
        if header.lines().next() != Some("tree") {
            return Err(Error::malformed("model", "its first line is not `tree`"));
        }
        let fields = fields(header);
        match fields.get("version") {
            Some(&("v3" | "v4")) => {}
            version => return Err(Error::unsupported(format!("LightGBM's format {version:?}"))),
        }
        let outputs: usize = one(&fields, "num_tree_per_iteration", "model")?;
        let classes: usize = one(&fields, "num_class", "model")?;
        if outputs == 0 || outputs > OUTPUTS_MAX || classes != outputs {
            return Err(Error::unsupported(format!("{outputs} trees a round for {classes} classes")));
        }
        let names: Vec<String> =
            field(&fields, "feature_names", "model")?.split(' ').map(str::to_owned).collect();
        let features = one::<usize>(&fields, "max_feature_idx", "model")?.saturating_add(1);
        if names.len() != features {
            return Err(Error::malformed("feature_names", format!("{} of {features}", names.len())));
        }
        let mut forest = Forest::new(false);
        for (place, block) in blocks.enumerate() {
            let tree = tree(block, features, &format!("tree {place}"))?;
            forest.plant(&tree, place % outputs)?;
        }
        if forest.trees() % outputs != 0 {
            return Err(Error::malformed("model", "its last round lacks trees"));
        }
        #[expect(clippy::cast_precision_loss, reason = "rounds are few")]
        let rounds = (forest.trees() / outputs) as f64;
        let averaged = header.lines().any(|line| line == "average_output");
        Ok(Self {
            forest,
            link: Link::of_lightgbm(fields.get("objective").copied())?,
            outputs,
            divisor: averaged.then_some(rounds),
            names,
            categories: categories(rest)?,
        })
    }
}

fn fields(block: &str) -> Fields<'_> {
    block.lines().filter_map(|line| line.split_once('=')).collect()
}

fn field<'a>(fields: &Fields<'a>, name: &str, place: &str) -> Result<&'a str, Error> {
    fields.get(name).copied().ok_or_else(|| Error::malformed(place, format!("`{name}` is missing")))
}

fn one<T: std::str::FromStr>(fields: &Fields<'_>, name: &str, place: &str) -> Result<T, Error> {
    let text = field(fields, name, place)?;
    text.trim().parse().map_err(|_| Error::malformed(place, format!("`{name}` is `{text:.40}`")))
}

/// So many numbers.
fn list<T: std::str::FromStr>(
    fields: &Fields<'_>,
    name: &str,
    count: usize,
    place: &str,
) -> Result<Vec<T>, Error> {
    let words = field(fields, name, place)?.split_whitespace();
    let number = |word: &str| {
        word.parse().map_err(|_| Error::malformed(place, format!("`{word:.40}` in `{name}` is no number")))
    };
    let numbers: Vec<T> = words.map(number).collect::<Result<_, _>>()?;
    if numbers.len() == count {
        return Ok(numbers);
    }
    Err(Error::malformed(place, format!("`{name}` has {} numbers, expected {count}", numbers.len())))
}

/// Splits first, then leaves; a child below 0 is a leaf, counted from -1.
fn tree(block: &str, features: usize, place: &str) -> Result<Vec<Grown<u64>>, Error> {
    let fields = fields(block);
    let leaves: usize = one(&fields, "num_leaves", place)?;
    if fields.get("is_linear").is_some_and(|linear| linear.trim() != "0") {
        return Err(Error::unsupported("a tree with linear leaves"));
    }
    let values: Vec<f64> = list(&fields, "leaf_value", leaves, place)?;
    if leaves <= 1 {
        return Ok(values.into_iter().map(Grown::Leaf).collect());
    }
    let splits = leaves - 1;
    let of: Vec<usize> = list(&fields, "split_feature", splits, place)?;
    let thresholds: Vec<f64> = list(&fields, "threshold", splits, place)?;
    let decisions: Vec<u8> = list(&fields, "decision_type", splits, place)?;
    let left: Vec<i64> = list(&fields, "left_child", splits, place)?;
    let right: Vec<i64> = list(&fields, "right_child", splits, place)?;
    // Each split has a set of its own.
    let mut sets: Vec<Option<Vec<u32>>> = sets(&fields, place)?.into_iter().map(Some).collect();
    let child = |child: i64| {
        let place_of = |number: i64| usize::try_from(number).ok();
        let child = if child < 0 {
            place_of(!child).and_then(|leaf| splits.checked_add(leaf))
        } else {
            place_of(child)
        };
        child.ok_or_else(|| Error::malformed(place, "a child is none of its nodes"))
    };
    let mut nodes = Vec::with_capacity(splits + leaves);
    for split in 0..splits {
        if of[split] >= features {
            return Err(Error::malformed(place, format!("it splits on column {} of {features}", of[split])));
        }
        let test = test(decisions[split], thresholds[split], &mut sets, place)?;
        nodes.push(Grown::Split {
            feature: of[split],
            test,
            left: child(left[split])?,
            right: child(right[split])?,
        });
    }
    nodes.extend(values.into_iter().map(Grown::Leaf));
    Ok(nodes)
}

/// Bit 0: a set of categories; bit 1: what is missing goes left; bits 2 and 3: what counts as missing.
fn test(
    decision: u8,
    threshold: f64,
    sets: &mut [Option<Vec<u32>>],
    place: &str,
) -> Result<Test<u64>, Error> {
    if threshold.is_nan() {
        return Err(Error::malformed(place, "a threshold is NaN"));
    }
    if decision & 1 == 1 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a place that was written as a float"
        )]
        let set = sets.get_mut(threshold as usize).and_then(Option::take);
        let set =
            set.ok_or_else(|| Error::malformed(place, format!("there is no set {threshold} of categories")))?;
        return Ok(Test::In(set, Seen::LightgbmCategory));
    }
    let left = decision & 2 != 0;
    let seen = match decision >> 2 & 3 {
        0 => Seen::Zero,
        1 => Seen::MissingOrZero { left },
        2 => Seen::Missing { left },
        other => return Err(Error::malformed(place, format!("there is no missing type {other}"))),
    };
    // Left is what is not above the threshold.
    Ok(Test::Below(u64::of(threshold).next(), seen))
}

/// The sets of categories of a tree's splits, in words of 32 bits.
fn sets(fields: &Fields<'_>, place: &str) -> Result<Vec<Vec<u32>>, Error> {
    let count: usize = one(fields, "num_cat", place)?;
    if count == 0 {
        return Ok(Vec::new());
    }
    let ends: Vec<usize> = list(fields, "cat_boundaries", count.saturating_add(1), place)?;
    let words: Vec<u32> = list(fields, "cat_threshold", ends[count], place)?;
    let set = |pair: &[usize]| words.get(pair[0]..pair[1]).map(<[u32]>::to_vec);
    let sets: Option<Vec<_>> = ends.windows(2).map(set).collect();
    sets.ok_or_else(|| Error::malformed(place, "`cat_boundaries` doesn't ascend"))
}

fn categories(rest: &str) -> Result<Vec<Vec<serde_json::Value>>, Error> {
    let line = rest.lines().rev().find_map(|line| line.strip_prefix("pandas_categorical:"));
    let told: Option<Vec<Vec<serde_json::Value>>> = match line {
        Some(line) => {
            serde_json::from_str(line).map_err(|error| Error::malformed("pandas_categorical", error))?
        }
        None => None,
    };
    Ok(told.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: &str = "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx=1\n\
        objective=regression\nfeature_names=a b\nfeature_infos=none none\n\n\
        Tree=0\nnum_leaves=3\nnum_cat=1\nsplit_feature=0 1\nthreshold=0.5 0\ndecision_type=10 1\n\
        left_child=1 -1\nright_child=-3 -2\nleaf_value=1 2 4\ncat_boundaries=0 1\ncat_threshold=5\nis_linear=0\n\n\
        Tree=1\nnum_leaves=1\nnum_cat=0\nsplit_feature=\nthreshold=\nleaf_value=0.25\nis_linear=0\n\n\
        end of trees\n\npandas_categorical:[[\"x\", \"y\", \"z\"]]\n";

    fn predict(model: &Lightgbm, row: [f64; 2]) -> f64 {
        let mut sums = [0.0];
        model.forest.add(&row, 2, &mut sums, 1);
        sums[0]
    }

    #[test]
    fn a_file_is_read() {
        let model = Lightgbm::read(MODEL).unwrap();
        assert_eq!((model.names.as_slice(), model.outputs), (["a", "b"].map(str::to_owned).as_slice(), 1));
        assert_eq!(model.categories, [vec!["x", "y", "z"]]);
        assert_eq!(predict(&model, [0.5, 0.0]), 1.25);
        assert_eq!(predict(&model, [0.5, 1.0]), 2.25);
        assert_eq!(predict(&model, [0.6, 2.0]), 4.25);
        assert_eq!(predict(&model, [f64::NAN, 2.0]), 1.25);
        assert_eq!(model.divisor, None);
        let averaged = MODEL.replace("objective=", "average_output\nobjective=");
        assert_eq!(Lightgbm::read(&averaged).unwrap().divisor, Some(2.0));
    }

    #[test]
    fn what_is_not_computed_here_or_damaged_is_told() {
        let check = |from: &str, to: &str, told: &str| {
            assert!(MODEL.contains(from), "{from}");
            assert_eq!(Lightgbm::read(&MODEL.replacen(from, to, 1)).unwrap_err().to_string(), told);
        };
        check("is_linear=0", "is_linear=1", "a tree with linear leaves is not computed in process");
        check("version=v4", "version=v9", "LightGBM's format Some(\"v9\") is not computed in process");
        check("end of trees", "", "model: the line `end of trees` is missing");
        check("leaf_value=1 2 4", "leaf_value=1 2", "tree 0: `leaf_value` has 2 numbers, expected 3");
        check("threshold=0.5 0", "threshold=0.5 3", "tree 0: there is no set 3 of categories");
        check("split_feature=0 1", "split_feature=0 2", "tree 0: it splits on column 2 of 2");
        check("left_child=1 -1", "left_child=0 -1", "tree 0: its nodes lead in a circle");
        check("threshold=0.5 0", "threshold=x 0", "tree 0: `x` in `threshold` is no number");
        check("cat_boundaries=0 1", "cat_boundaries=9 1", "tree 0: `cat_boundaries` doesn't ascend");
    }
}
