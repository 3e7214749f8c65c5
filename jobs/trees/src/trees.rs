//! A model's file as a function from rows to predictions.

use crate::{
    Error, TooLarge,
    forest::{BLOCK, Forest},
    lightgbm::{Lightgbm, ZERO},
    link::Link,
    xgboost::Xgboost,
};

/// A tree model.
#[derive(Debug)]
pub struct Trees {
    library: Library,
    features: usize,
    /// Sums of a row.
    sums: usize,
    link: Link,
    names: Option<Vec<String>>,
}

#[derive(Debug)]
enum Library {
    Xgboost { forest: Forest<u32>, base: Vec<f64>, categories: Vec<Option<Vec<String>>> },
    Lightgbm { forest: Forest<u64>, divisor: Option<f64>, categories: Vec<Vec<serde_json::Value>> },
}

impl Trees {
    /// Reads a model in LightGBM's text format.
    ///
    /// # Errors
    /// If it has what is not computed here, or is damaged.
    pub fn lightgbm(text: &str) -> Result<Self, Error> {
        let Lightgbm { forest, link, outputs, divisor, names, categories } = Lightgbm::read(text)?;
        let features = names.len();
        // What LightGBM calls columns that have no names.
        let unnamed = names.iter().enumerate().all(|(place, name)| *name == format!("Column_{place}"));
        let names = (!unnamed).then_some(names);
        let library = Library::Lightgbm { forest, divisor, categories };
        Ok(Self { library, features, sums: outputs, link, names })
    }

    /// Reads a model in XGBoost's JSON or UBJ.
    ///
    /// # Errors
    /// If it has what is not computed here, or is damaged.
    pub fn xgboost(bytes: &[u8]) -> Result<Self, Error> {
        let Xgboost { forest, link, base, features, names, categories } = Xgboost::read(bytes)?;
        let sums = base.len();
        Ok(Self { library: Library::Xgboost { forest, base, categories }, features, sums, link, names })
    }

    /// Columns of a row.
    pub fn features(&self) -> usize {
        self.features
    }

    /// The names of its columns in its order, if the file has any.
    pub fn names(&self) -> Option<&[String]> {
        self.names.as_deref()
    }

    /// Predictions for a row.
    pub fn outputs(&self) -> usize {
        if self.link.picks_one() { 1 } else { self.sums }
    }

    /// How many trees answer.
    pub fn trees(&self) -> usize {
        match &self.library {
            Library::Xgboost { forest, .. } => forest.trees(),
            Library::Lightgbm { forest, .. } => forest.trees(),
        }
    }

    /// Whether columns have these categories (in the model's order; none of a column of numbers), as far as the file keeps
    /// text of them.
    pub fn learnt(&self, recorded: &[Option<&[String]>]) -> bool {
        match &self.library {
            Library::Xgboost { categories, .. } => {
                categories.iter().all(Option::is_none)
                    || categories.iter().map(Option::as_deref).eq(recorded.iter().copied())
            }
            // LightGBM keeps them by place, of categorical columns alone.
            Library::Lightgbm { categories, .. } => {
                let recorded: Vec<&[String]> = recorded.iter().flatten().copied().collect();
                categories.is_empty() || *categories == recorded
            }
        }
    }

    /// Predicts rows. `rows`: `[rows × features]`, row-major, NaN where a value is missing, categories as their codes;
    /// gives `[rows × outputs]`. Predictions of XGBoost are 32-bit floats.
    ///
    /// # Errors
    /// [`TooLarge`], of XGBoost.
    ///
    /// # Panics
    /// If `rows` are no whole rows.
    pub fn predict(&self, rows: &[f64]) -> Result<Vec<f64>, TooLarge> {
        let mut sums = self.margins(rows)?;
        if let Library::Lightgbm { divisor: Some(rounds), .. } = &self.library {
            for sum in &mut sums {
                *sum /= rounds;
            }
        }
        for sums in sums.chunks_exact_mut(self.sums) {
            self.link.apply(sums);
        }
        if self.link.picks_one() {
            return Ok(sums.chunks_exact(self.sums).map(|row| row[0]).collect());
        }
        Ok(sums)
    }

    /// As [`predict`](Self::predict), before a forest's average and the objective's function: what libraries call margin or
    /// raw score.
    ///
    /// # Errors
    /// [`TooLarge`], of XGBoost.
    ///
    /// # Panics
    /// If `rows` are no whole rows.
    pub fn margins(&self, rows: &[f64]) -> Result<Vec<f64>, TooLarge> {
        assert_eq!(rows.len() % self.features, 0, "a row has {} columns", self.features);
        let count = rows.len() / self.features;
        let mut seen = Vec::with_capacity(self.features * BLOCK.min(count));
        Ok(match &self.library {
            Library::Xgboost { forest, base, .. } => {
                let mut sums = base.repeat(count);
                for (block, part) in self.blocks(rows, &mut sums).enumerate() {
                    seen.clear();
                    for (place, value) in part.0.iter().enumerate() {
                        let place = block * BLOCK * self.features + place;
                        seen.push(self.single(*value, place)?);
                    }
                    forest.add(&seen, self.features, part.1, self.sums);
                }
                sums
            }
            Library::Lightgbm { forest, .. } => {
                let mut sums = vec![0.0; count * self.sums];
                for (rows, sums) in self.blocks(rows, &mut sums) {
                    seen.clear();
                    // What is next to nothing is nothing there, before any split sees it.
                    seen.extend(rows.iter().map(|value| if value.abs() <= ZERO { 0.0 } else { *value }));
                    forest.add(&seen, self.features, sums, self.sums);
                }
                sums
            }
        })
    }

    /// `1 - probability` in the library's own precision.
    #[expect(clippy::cast_possible_truncation, reason = "it is a 32-bit float already")]
    pub fn complement(&self, probability: f64) -> f64 {
        match &self.library {
            Library::Xgboost { .. } => f64::from(1.0 - probability as f32),
            Library::Lightgbm { .. } => 1.0 - probability,
        }
    }

    fn blocks<'a>(
        &self,
        rows: &'a [f64],
        sums: &'a mut [f64],
    ) -> impl Iterator<Item = (&'a [f64], &'a mut [f64])> + use<'a> {
        rows.chunks(self.features * BLOCK).zip(sums.chunks_mut(self.sums * BLOCK))
    }

    /// A value in 32 bits, as XGBoost takes it.
    #[expect(clippy::cast_possible_truncation, reason = "that is what XGBoost does")]
    fn single(&self, value: f64, place: usize) -> Result<f64, TooLarge> {
        let single = value as f32;
        if single.is_infinite() {
            return Err(TooLarge { row: place / self.features, feature: place % self.features, value });
        }
        Ok(single.into())
    }
}
