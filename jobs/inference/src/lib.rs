//! Python models behind one Predictor; warm pools; golden rows.
