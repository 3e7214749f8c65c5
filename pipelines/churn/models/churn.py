"""Trains LightGBM on the training set of `churn`."""

import lightgbm as lgb

TREES = 150
PARAMS = {
    "objective": "binary",
    "num_leaves": 15,
    "learning_rate": 0.05,
    "min_data_in_leaf": 50,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,  # as the pipeline's resources say
    "seed": 1,
    "verbose": -1,
}


def train(ctx, dataset, out):
    frame = dataset.to_pandas()
    rows = lgb.Dataset(frame[dataset.features], label=frame[dataset.label].astype(int))
    booster = lgb.train(PARAMS, rows, num_boost_round=TREES)
    booster.save_model(out / "model.txt")
    ctx.log_params({"trees": TREES, "rows": len(frame), **PARAMS})
    gains = booster.feature_importance("gain")
    for name, gain in sorted(zip(dataset.features, gains), key=lambda pair: -pair[1]):
        print(f"{name:24} {gain:10.1f}")
    return {"trees": booster.num_trees()}
