//! From labels to a promoted model: the steps of training together, on real servers and real Python.

mod churn;
mod datasets;
mod models;
mod odd;
mod world;
