//! From a sum of leaves to a prediction, as each library's objectives do it, operation by operation.
//!
//! `exp` is the C library's, as it is the libraries'.

use crate::Error;

/// Sums of a row at most: more would be a damaged file.
pub(crate) const OUTPUTS_MAX: usize = 100_000;

/// What becomes of the sums of one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Link {
    /// Nothing.
    Identity,
    /// XGBoost's functions, in 32 bits.
    Xgboost(Xgboost),
    /// LightGBM's functions, in 64 bits.
    Lightgbm(Lightgbm),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Xgboost {
    Sigmoid,
    Exp,
    Softmax,
    /// The place of the largest one.
    Largest,
    /// 1 above 0, else 0.
    Sign,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Lightgbm {
    /// With its steepness.
    Sigmoid(f64),
    Exp,
    /// `log(1 + exp(x))`.
    LogExp,
    Softmax,
    /// `sign(x) · x²`.
    SignedSquare,
}

impl Link {
    /// Of an XGBoost objective, by its name.
    pub(crate) fn of_xgboost(objective: &str) -> Result<Self, Error> {
        Ok(match objective {
            "reg:squarederror"
            | "reg:linear"
            | "reg:squaredlogerror"
            | "reg:absoluteerror"
            | "reg:pseudohubererror"
            | "reg:quantileerror"
            | "binary:logitraw"
            | "rank:pairwise"
            | "rank:ndcg"
            | "rank:map" => Self::Identity,
            "binary:logistic" | "reg:logistic" => Self::Xgboost(Xgboost::Sigmoid),
            "count:poisson" | "reg:gamma" | "reg:tweedie" | "survival:cox" => Self::Xgboost(Xgboost::Exp),
            "multi:softprob" => Self::Xgboost(Xgboost::Softmax),
            "multi:softmax" => Self::Xgboost(Xgboost::Largest),
            "binary:hinge" => Self::Xgboost(Xgboost::Sign),
            other => return Err(Error::unsupported(format!("XGBoost's objective `{other}`"))),
        })
    }

    /// Of what LightGBM writes behind `objective=`; a model of a custom objective writes nothing and predicts its sums.
    pub(crate) fn of_lightgbm(objective: Option<&str>) -> Result<Self, Error> {
        let Some(objective) = objective else { return Ok(Self::Identity) };
        let mut words = objective.split_whitespace();
        let name = words.next().unwrap_or_default();
        let unsupported = || Error::unsupported(format!("LightGBM's objective `{objective}`"));
        let (mut sigmoid, mut sqrt) = (1.0, false);
        for word in words {
            match word.split_once(':') {
                Some(("sigmoid", value)) => sigmoid = value.parse().map_err(|_| unsupported())?,
                // What a threshold of the loss or the number of classes is doesn't matter here.
                Some(("num_class" | "alpha" | "c" | "tweedie_variance_power", _)) => {}
                None if word == "sqrt" => sqrt = true,
                _ => return Err(unsupported()),
            }
        }
        Ok(match (name, sqrt) {
            ("regression" | "regression_l1", true) => Self::Lightgbm(Lightgbm::SignedSquare),
            (_, true) => return Err(unsupported()),
            (
                "regression" | "regression_l1" | "huber" | "fair" | "quantile" | "mape" | "lambdarank"
                | "rank_xendcg",
                _,
            ) => Self::Identity,
            ("poisson" | "gamma" | "tweedie", _) => Self::Lightgbm(Lightgbm::Exp),
            ("binary" | "multiclassova", _) => Self::Lightgbm(Lightgbm::Sigmoid(sigmoid)),
            ("cross_entropy", _) => Self::Lightgbm(Lightgbm::Sigmoid(1.0)),
            ("cross_entropy_lambda", _) => Self::Lightgbm(Lightgbm::LogExp),
            ("multiclass", _) => Self::Lightgbm(Lightgbm::Softmax),
            _ => return Err(unsupported()),
        })
    }

    /// Whether a row has one prediction, whatever number of sums.
    pub(crate) fn picks_one(self) -> bool {
        self == Self::Xgboost(Xgboost::Largest)
    }

    /// Makes a row's sums its predictions.
    pub(crate) fn apply(self, sums: &mut [f64]) {
        match self {
            Self::Identity => {}
            Self::Xgboost(Xgboost::Softmax) => softmax_f32(sums),
            Self::Xgboost(Xgboost::Largest) => sums[0] = largest(sums),
            Self::Lightgbm(Lightgbm::Softmax) => softmax(sums),
            Self::Xgboost(Xgboost::Sigmoid) => each(sums, |x| f64::from(sigmoid_f32(single(x)))),
            Self::Xgboost(Xgboost::Exp) => each(sums, |x| f64::from(single(x).exp())),
            Self::Xgboost(Xgboost::Sign) => each(sums, |x| if x > 0.0 { 1.0 } else { 0.0 }),
            Self::Lightgbm(Lightgbm::Sigmoid(steepness)) => {
                each(sums, |x| 1.0 / (1.0 + (-steepness * x).exp()));
            }
            Self::Lightgbm(Lightgbm::Exp) => each(sums, f64::exp),
            Self::Lightgbm(Lightgbm::LogExp) => each(sums, |x| x.exp().ln_1p()),
            Self::Lightgbm(Lightgbm::SignedSquare) => each(sums, |x| sign(x) * x * x),
        }
    }
}

/// XGBoost's base score as its objective adds it to the leaves.
pub(crate) fn xgboost_base(objective: &str, score: f32) -> Result<f32, Error> {
    let base = match objective {
        // Certainty is bounded there, lest the margin be infinite.
        "binary:logistic" | "reg:logistic" => -(1.0 / score.clamp(1e-6, 1.0 - 1e-6) - 1.0).ln(),
        "count:poisson" | "reg:gamma" | "reg:tweedie" | "survival:cox" => score.ln(),
        _ => score,
    };
    if base.is_finite() { Ok(base) } else { Err(Error::unsupported(format!("a base score of {score}"))) }
}

fn each(sums: &mut [f64], of: impl Fn(f64) -> f64) {
    for sum in sums {
        *sum = of(*sum);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "sums of such a model are 32-bit floats already")]
fn single(sum: f64) -> f32 {
    sum as f32
}

fn sigmoid_f32(x: f32) -> f32 {
    // Bounded as there, lest `exp` overflow.
    1.0 / ((-x).min(88.7).exp() + 1.0)
}

fn softmax_f32(sums: &mut [f64]) {
    let largest = sums.iter().fold(f32::NEG_INFINITY, |largest, sum| largest.max(single(*sum)));
    let mut total = 0.0;
    for sum in sums.iter_mut() {
        *sum = f64::from((single(*sum) - largest).exp());
        total += *sum;
    }
    let total = single(total);
    each(sums, |sum| f64::from(single(sum) / total));
}

fn softmax(sums: &mut [f64]) {
    let largest = sums.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut total = 0.0;
    for sum in sums.iter_mut() {
        *sum = (*sum - largest).exp();
        total += *sum;
    }
    each(sums, |sum| sum / total);
}

/// The first of the largest.
#[expect(clippy::cast_precision_loss, reason = "classes are few")]
fn largest(sums: &[f64]) -> f64 {
    (1..sums.len()).fold(0, |best, at| if sums[at] > sums[best] { at } else { best }) as f64
}

fn sign(x: f64) -> f64 {
    if x > 0.0 {
        1.0
    } else if x < 0.0 {
        -1.0
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(link: Link, sums: &[f64], expected: &[f64]) {
        let mut got = sums.to_vec();
        link.apply(&mut got);
        assert_eq!(got, expected, "{link:?}");
    }

    #[test]
    fn sums_become_predictions() {
        check(Link::of_lightgbm(Some("binary sigmoid:2")).unwrap(), &[0.0], &[0.5]);
        check(Link::of_lightgbm(Some("regression sqrt")).unwrap(), &[-3.0], &[-9.0]);
        check(Link::of_lightgbm(Some("multiclass num_class:2")).unwrap(), &[5.0, 5.0], &[0.5, 0.5]);
        check(Link::of_lightgbm(None).unwrap(), &[7.0], &[7.0]);
        check(Link::of_xgboost("multi:softmax").unwrap(), &[1.0, 3.0, 3.0], &[1.0, 3.0, 3.0]);
        check(Link::of_xgboost("binary:hinge").unwrap(), &[1e-9, 0.0], &[1.0, 0.0]);
        // Where `exp` would overflow, the probability is the smallest of all and not 0.
        let mut sums = [-200.0];
        Link::of_xgboost("binary:logistic").unwrap().apply(&mut sums);
        assert!(sums[0] > 0.0 && sums[0] < 1e-38);
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        let told = |link: Result<Link, Error>| link.unwrap_err().to_string();
        assert_eq!(
            told(Link::of_xgboost("survival:aft")),
            "XGBoost's objective `survival:aft` is not computed in process"
        );
        assert_eq!(
            told(Link::of_lightgbm(Some("huber sqrt"))),
            "LightGBM's objective `huber sqrt` is not computed in process"
        );
        assert_eq!(
            told(Link::of_lightgbm(Some("binary slope:2"))),
            "LightGBM's objective `binary slope:2` is not computed in process"
        );
    }

    #[test]
    fn a_base_score_is_a_probability_where_the_objective_predicts_one() {
        assert_eq!(xgboost_base("binary:logistic", 0.5).unwrap(), 0.0);
        assert_eq!(xgboost_base("count:poisson", 1.0).unwrap(), 0.0);
        assert_eq!(xgboost_base("reg:squarederror", 0.25).unwrap(), 0.25);
        assert_eq!(xgboost_base("binary:logistic", 1.0).unwrap(), 13.745_16);
        assert_eq!(xgboost_base("binary:logitraw", 0.25).unwrap(), 0.25);
        assert!(xgboost_base("reg:gamma", 0.0).is_err());
    }
}
