//! Every generated statement, assembled from quoted names.
