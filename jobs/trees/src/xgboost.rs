//! XGBoost's JSON and UBJ formats, one structure in two spellings.
//!
//! Schema: XGBoost's `doc/model.schema`. The base score is text: a number of old, a list for each output since 3.1.

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::{
    Error,
    forest::{Forest, Grown, Seen, Test},
    key::Key as _,
    link::{Link, OUTPUTS_MAX, xgboost_base},
    ubj,
};

/// Words of all sets of a tree: a few bytes of a file can name a large category.
const SET_WORDS_MAX: usize = 1 << 22;

/// A file's model.
#[derive(Debug)]
pub(crate) struct Xgboost {
    pub(crate) forest: Forest<u32>,
    pub(crate) link: Link,
    /// What the leaves of each output are added to.
    pub(crate) base: Vec<f64>,
    pub(crate) features: usize,
    pub(crate) names: Option<Vec<String>>,
    /// Of each column the text that its categories were, where they were text.
    pub(crate) categories: Vec<Option<Vec<String>>>,
}

#[derive(Deserialize)]
struct Document {
    learner: Learner,
}

#[derive(Deserialize)]
struct Learner {
    #[serde(default)]
    attributes: Attributes,
    #[serde(default)]
    feature_names: Vec<String>,
    gradient_booster: Booster,
    #[serde(rename = "learner_model_param")]
    params: Params,
    objective: Objective,
}

#[derive(Default, Deserialize)]
struct Attributes {
    best_iteration: Option<String>,
    scikit_learn: Option<String>,
}

#[derive(Deserialize)]
struct Objective {
    name: String,
}

#[derive(Deserialize)]
struct Params {
    base_score: String,
    #[serde(deserialize_with = "number")]
    num_class: usize,
    #[serde(deserialize_with = "number")]
    num_feature: usize,
    #[serde(default = "target", deserialize_with = "number")]
    num_target: usize,
}

/// Before 1.6 there was one.
fn target() -> usize {
    1
}

#[derive(Deserialize)]
struct Booster {
    name: String,
    /// Of `gbtree`.
    model: Option<Model>,
    /// Of `dart`, which wraps one.
    gbtree: Option<Wrapped>,
    weight_drop: Option<Vec<f32>>,
}

#[derive(Deserialize)]
struct Wrapped {
    model: Model,
}

/// Of a linear booster nothing of it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Model {
    trees: Vec<Tree>,
    tree_info: Vec<usize>,
    /// Where each round begins, and the end.
    iteration_indptr: Option<Vec<usize>>,
    gbtree_model_param: ModelParams,
    cats: Option<Cats>,
}

#[derive(Default, Deserialize)]
struct ModelParams {
    #[serde(default = "target", deserialize_with = "number")]
    num_parallel_tree: usize,
}

#[derive(Deserialize)]
struct Cats {
    #[serde(default)]
    enc: Vec<Encoded>,
}

/// The categories of a column: where each ends in the bytes of all, if they are text.
#[derive(Deserialize)]
struct Encoded {
    offsets: Option<Vec<i64>>,
    #[serde(default)]
    values: Vec<f64>,
}

#[derive(Deserialize)]
struct Tree {
    left_children: Vec<i64>,
    right_children: Vec<i64>,
    split_indices: Vec<usize>,
    split_conditions: Vec<f32>,
    default_left: Vec<Flag>,
    #[serde(default)]
    split_type: Vec<Flag>,
    #[serde(default)]
    categories: Vec<u32>,
    #[serde(default)]
    categories_nodes: Vec<usize>,
    #[serde(default)]
    categories_segments: Vec<usize>,
    #[serde(default)]
    categories_sizes: Vec<usize>,
    #[serde(rename = "tree_param")]
    params: TreeParams,
}

#[derive(Deserialize)]
struct TreeParams {
    #[serde(default = "target", deserialize_with = "number")]
    size_leaf_vector: usize,
}

/// 0 and 1, or false and true as of old.
struct Flag(bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl serde::de::Visitor<'_> for Either {
            type Value = Flag;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("0 or 1")
            }
            fn visit_bool<E>(self, flag: bool) -> Result<Flag, E> {
                Ok(Flag(flag))
            }
            fn visit_i64<E>(self, flag: i64) -> Result<Flag, E> {
                Ok(Flag(flag != 0))
            }
            fn visit_u64<E>(self, flag: u64) -> Result<Flag, E> {
                Ok(Flag(flag != 0))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Parameters are written as text.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| D::Error::custom(format!("`{text:.40}` is no number")))
}

impl Xgboost {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Error> {
        // A key of UBJ begins with its length, one of JSON with a quote.
        let json = bytes.get(1).is_none_or(|second| second.is_ascii_whitespace() || *second == b'"');
        let malformed = |error: &dyn std::fmt::Display| Error::malformed("model", error);
        let document: Document = if json {
            serde_json::from_slice(bytes).map_err(|error| malformed(&error))?
        } else {
            ubj::from_slice(bytes).map_err(|error| malformed(&error))?
        };
        document.learner.model()
    }
}

impl Learner {
    fn model(self) -> Result<Xgboost, Error> {
        let Params { num_class, num_feature, num_target, .. } = self.params;
        if num_feature == 0 {
            return Err(Error::unsupported("a model without columns"));
        }
        let outputs = num_class.max(num_target).max(1);
        if outputs > OUTPUTS_MAX {
            return Err(Error::unsupported(format!("a model of {outputs} outputs")));
        }
        let objective = self.objective.name;
        let base = base(&objective, &self.params.base_score, outputs)?;
        let Booster { name, model, gbtree, weight_drop } = self.gradient_booster;
        let (model, weights) = match (name.as_str(), model, gbtree) {
            ("gbtree", Some(model), _) => (model, None),
            ("dart", _, Some(wrapped)) => (wrapped.model, weight_drop),
            _ => return Err(Error::unsupported(format!("XGBoost's booster `{name}`"))),
        };
        let trees = model.trees_that_answer(&self.attributes, outputs)?;
        let mut forest = Forest::new(true);
        for (place, tree) in model.trees.iter().enumerate().take(trees) {
            let output = model.tree_info.get(place).filter(|output| **output < outputs);
            let output = output.ok_or_else(|| Error::malformed("tree_info", format!("tree {place}")))?;
            let weight = weights.as_ref().map_or(Some(1.0), |weights| weights.get(place).copied());
            let weight = weight.ok_or_else(|| Error::malformed("weight_drop", format!("tree {place}")))?;
            let tree = tree.grown(num_feature, weight, &format!("tree {place}"))?;
            forest.plant(&tree, *output)?;
        }
        let named = !self.feature_names.is_empty();
        if named && self.feature_names.len() != num_feature {
            return Err(Error::malformed(
                "feature_names",
                format!("{} of {num_feature}", self.feature_names.len()),
            ));
        }
        Ok(Xgboost {
            forest,
            link: Link::of_xgboost(&objective)?,
            base,
            features: num_feature,
            names: named.then_some(self.feature_names),
            categories: model.cats.map_or_else(|| Ok(Vec::new()), Cats::text)?,
        })
    }
}

/// One number for all outputs, or one for each.
fn base(objective: &str, text: &str, outputs: usize) -> Result<Vec<f64>, Error> {
    let malformed = || Error::malformed("base_score", format!("`{text:.80}`"));
    let numbers = text.trim().trim_start_matches('[').trim_end_matches(']').split(',');
    let scores: Vec<f32> =
        numbers.map(|number| number.trim().parse().map_err(|_| malformed())).collect::<Result<_, _>>()?;
    let score = |output: usize| match scores.as_slice() {
        [one] => Ok(*one),
        several => several.get(output).copied().ok_or_else(malformed),
    };
    (0..outputs).map(|output| Ok(xgboost_base(objective, score(output)?)?.into())).collect()
}

impl Model {
    /// The trees of the rounds that count. Models in scikit-learn's form answer with their best rounds; of a plain booster
    /// that stopped early it can't be told which are meant.
    fn trees_that_answer(&self, attributes: &Attributes, outputs: usize) -> Result<usize, Error> {
        let Some(best) = &attributes.best_iteration else { return Ok(self.trees.len()) };
        let wrong = || Error::malformed("best_iteration", format!("`{best:.40}`"));
        let rounds = best.parse::<usize>().map_err(|_| wrong())?.checked_add(1).ok_or_else(wrong)?;
        let a_round = outputs.saturating_mul(self.gbtree_model_param.num_parallel_tree.max(1));
        let all = match &self.iteration_indptr {
            Some(starts) => starts.len().saturating_sub(1),
            None => self.trees.len() / a_round,
        };
        if rounds >= all {
            return Ok(self.trees.len());
        }
        if attributes.scikit_learn.is_none() {
            return Err(Error::unsupported(
                "a booster that stopped early and doesn't say which rounds count",
            ));
        }
        let end = match &self.iteration_indptr {
            Some(starts) => starts[rounds],
            None => rounds * a_round,
        };
        if end <= self.trees.len() { Ok(end) } else { Err(wrong()) }
    }
}

impl Cats {
    /// Of each column, if its categories are text.
    fn text(self) -> Result<Vec<Option<Vec<String>>>, Error> {
        let malformed = || Error::malformed("cats", "text that is cut off, or no text");
        let column = |Encoded { offsets, values }: Encoded| {
            let Some(offsets) = offsets.filter(|offsets| !offsets.is_empty()) else { return Ok(None) };
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "bytes, kept as `i8`"
            )]
            let bytes: Vec<u8> = values.into_iter().map(|byte| byte as i8 as u8).collect();
            let word = |ends: &[i64]| {
                let (start, end) = (usize::try_from(ends[0]).ok()?, usize::try_from(ends[1]).ok()?);
                String::from_utf8(bytes.get(start..end)?.to_vec()).ok()
            };
            let words: Option<Vec<String>> = offsets.windows(2).map(word).collect();
            words.map(Some).ok_or_else(malformed)
        };
        self.enc.into_iter().map(column).collect()
    }
}

impl Tree {
    fn grown(&self, features: usize, weight: f32, place: &str) -> Result<Vec<Grown<u32>>, Error> {
        let malformed = |problem: &str| Error::malformed(place, problem);
        if self.params.size_leaf_vector > 1 {
            return Err(Error::unsupported("a tree whose leaves are vectors"));
        }
        let nodes = self.left_children.len();
        let lengths = [
            self.right_children.len(),
            self.split_indices.len(),
            self.split_conditions.len(),
            self.default_left.len(),
        ];
        if lengths.iter().any(|length| *length != nodes) {
            return Err(malformed("its lists differ in length"));
        }
        let sets = self.sets(place)?;
        let node = |node: usize| {
            let condition = self.split_conditions[node];
            if self.left_children[node] < 0 {
                return Ok(Grown::Leaf(f64::from(condition * weight)));
            }
            let child =
                |child: i64| usize::try_from(child).map_err(|_| malformed("a child is none of its nodes"));
            let (left, right) = (child(self.left_children[node])?, child(self.right_children[node])?);
            // The library looks for the right child behind the left one, whatever is written.
            if right != left + 1 {
                return Err(Error::unsupported("a tree whose children lie apart"));
            }
            let feature = self.split_indices[node];
            if feature >= features {
                return Err(malformed("it splits on a column that there isn't"));
            }
            let to_left = self.default_left[node].0;
            let test = if self.split_type.get(node).is_some_and(|categorical| categorical.0) {
                Test::In(sets[node].clone().unwrap_or_default(), Seen::XgboostCategory { left: to_left })
            } else if condition.is_nan() {
                return Err(malformed("a threshold is NaN"));
            } else {
                Test::Below(u32::of(condition.into()), Seen::Missing { left: to_left })
            };
            Ok(Grown::Split { feature, test, left, right })
        };
        (0..nodes).map(node).collect()
    }

    /// For each node with a set: a bit for each category that goes left. Those that are chosen go right.
    fn sets(&self, place: &str) -> Result<Vec<Option<Vec<u32>>>, Error> {
        let malformed = || Error::malformed(place, "its sets of categories are cut off");
        let mut sets = vec![None; self.left_children.len()];
        let mut words_of_all = 0;
        let segments = self.categories_segments.iter().zip(&self.categories_sizes);
        for (node, (start, size)) in self.categories_nodes.iter().zip(segments) {
            let end = start.checked_add(*size).ok_or_else(malformed)?;
            let chosen = self.categories.get(*start..end).ok_or_else(malformed)?;
            let largest = chosen.iter().copied().max().unwrap_or(0);
            if largest >= 1 << 24 {
                return Err(Error::malformed(place, format!("there is no category {largest}")));
            }
            words_of_all += largest as usize / 32 + 1;
            if words_of_all > SET_WORDS_MAX {
                return Err(Error::unsupported("a tree with sets of so many categories"));
            }
            let mut words = vec![u32::MAX; largest as usize / 32 + 1];
            for category in chosen {
                words[*category as usize / 32] &= !(1 << (category % 32));
            }
            *sets.get_mut(*node).ok_or_else(malformed)? = Some(words);
        }
        Ok(sets)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// `a < 1.5` or missing, then one of categories 1 and 3 of `b`.
    fn document() -> Value {
        json!({"version": [3, 2, 0], "learner": {
            "attributes": {}, "feature_names": ["a", "b"], "feature_types": ["float", "c"],
            "learner_model_param": {"base_score": "[2E0]", "num_class": "0", "num_feature": "2", "num_target": "1"},
            "objective": {"name": "reg:squarederror"},
            "gradient_booster": {"name": "gbtree", "model": {
                "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": "2"},
                "iteration_indptr": [0, 1, 2], "tree_info": [0, 0],
                "cats": {"enc": [{"offsets": [], "values": []}, {"offsets": [0, 1, 3], "values": [120, -61, -92]}]},
                "trees": [{
                    "left_children": [1, -1, 3, -1, -1], "right_children": [2, -1, 4, -1, -1],
                    "split_indices": [0, 0, 1, 0, 0], "split_conditions": [1.5, 10.0, 0.0, 20.0, 40.0],
                    "default_left": [1, 0, 0, 0, 0], "split_type": [0, 0, 1, 0, 0],
                    "categories": [1, 3], "categories_nodes": [2], "categories_segments": [0],
                    "categories_sizes": [2], "tree_param": {"size_leaf_vector": "1"},
                }, {
                    "left_children": [-1], "right_children": [-1], "split_indices": [0], "split_conditions": [0.5],
                    "default_left": [false], "tree_param": {},
                }],
            }},
        }})
    }

    fn read(document: &Value) -> Result<Xgboost, Error> {
        Xgboost::read(document.to_string().as_bytes())
    }

    fn predict(model: &Xgboost, row: [f64; 2]) -> f64 {
        let mut sums = model.base.clone();
        model.forest.add(&row, 2, &mut sums, 1);
        sums[0]
    }

    #[test]
    fn a_file_is_read() {
        let model = read(&document()).unwrap();
        let check = |a: f64, b: f64, expected: f64| assert_eq!(predict(&model, [a, b]), expected, "{a} {b}");
        check(1.0, 1.0, 12.5);
        check(f64::NAN, 1.0, 12.5);
        check(1.5, 0.0, 22.5);
        check(1.5, 1.0, 42.5);
        check(1.5, 3.0, 42.5);
        check(1.5, 500.0, 22.5);
        check(1.5, -1.0, 22.5);
        check(1.5, 1e30, 22.5);
        check(1.5, f64::NAN, 42.5);
        assert_eq!(model.categories, [None, Some(vec!["x".to_owned(), "ä".to_owned()])]);
    }

    #[test]
    fn the_best_rounds_answer_where_the_file_says_so() {
        let mut stopped = document();
        stopped["learner"]["attributes"] = json!({"best_iteration": "0", "scikit_learn": "{}"});
        assert_eq!(predict(&read(&stopped).unwrap(), [1.0, 1.0]), 12.0);
        stopped["learner"]["attributes"] = json!({"best_iteration": "1"});
        assert_eq!(predict(&read(&stopped).unwrap(), [1.0, 1.0]), 12.5);
        stopped["learner"]["attributes"] = json!({"best_iteration": "0"});
        let told = read(&stopped).unwrap_err().to_string();
        assert!(told.starts_with("a booster that stopped early"), "{told}");
    }

    #[test]
    fn trees_of_dart_have_weights() {
        let mut dart = document();
        let booster = dart["learner"]["gradient_booster"].take();
        dart["learner"]["gradient_booster"] =
            json!({"name": "dart", "gbtree": booster, "weight_drop": [0.5, 2.0]});
        assert_eq!(predict(&read(&dart).unwrap(), [1.0, 1.0]), 8.0);
    }

    #[test]
    fn what_is_not_computed_here_or_damaged_is_told() {
        let check = |change: &dyn Fn(&mut Value), told: &str| {
            let mut changed = document();
            change(&mut changed["learner"]);
            assert_eq!(read(&changed).unwrap_err().to_string(), told);
        };
        check(
            &|learner| learner["gradient_booster"] = json!({"name": "gblinear"}),
            "XGBoost's booster `gblinear` is not computed in process",
        );
        let tree = "/gradient_booster/model/trees/0";
        check(
            &|learner| {
                *learner.pointer_mut(&format!("{tree}/tree_param/size_leaf_vector")).unwrap() = json!("3")
            },
            "a tree whose leaves are vectors is not computed in process",
        );
        check(
            &|learner| *learner.pointer_mut(&format!("{tree}/categories_sizes")).unwrap() = json!([9]),
            "tree 0: its sets of categories are cut off",
        );
        check(
            &|learner| {
                *learner.pointer_mut(&format!("{tree}/split_indices")).unwrap() = json!([7, 0, 1, 0, 0])
            },
            "tree 0: it splits on a column that there isn't",
        );
        check(
            &|learner| learner["objective"]["name"] = json!("mine"),
            "XGBoost's objective `mine` is not computed in process",
        );
        assert!(matches!(Xgboost::read(b"not a model"), Err(Error::Malformed { .. })));
        assert!(matches!(Xgboost::read(b""), Err(Error::Malformed { .. })));
    }
}
