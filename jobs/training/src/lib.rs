//! Datasets, training steps and evaluation.
