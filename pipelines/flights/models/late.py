"""Trains LightGBM on any of the flight models' training sets; goes on from its last checkpoint."""

import lightgbm as lgb
import numpy as np

TREES = 200
CHECKPOINT_EVERY = 20
PARAMS = {
    "objective": "binary",
    "num_leaves": 31,
    "learning_rate": 0.05,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,  # as the pipeline's resources say; more threads than cores make LightGBM ten times slower
    "seed": 1,
    "verbose": -1,
}


def train(ctx, dataset, out):
    frame = dataset.to_pandas(categorical=True)
    rows = lgb.Dataset(frame[dataset.features], label=frame[dataset.label].astype(int))

    kept = ctx.last_checkpoint
    booster = lgb.Booster(model_str=kept["booster"]) if kept else None
    done = booster.num_trees() if booster else 0
    ctx.log_params({"trees": TREES, "rows": len(frame), **PARAMS})

    booster = lgb.train(
        PARAMS,
        rows,
        num_boost_round=TREES - done,
        init_model=booster,
        callbacks=[progress(ctx)],
    )
    booster.save_model(out / "model.txt")
    ctx.log_metrics(
        {
            "train_log_loss": log_loss(
                booster.predict(frame[dataset.features]), rows.get_label()
            )
        }
    )
    return {"trees": booster.num_trees()}


def log_loss(probability, label):
    """Beside the holdout's, which registration records, it says how much was learnt by heart."""
    return -np.mean(np.where(label == 1, np.log(probability), np.log1p(-probability)))


def progress(ctx):
    """Prints every tree and keeps the booster every few; LightGBM counts on from a booster it was given."""

    def after_tree(env):
        tree = env.iteration + 1
        print(f"tree {tree}", flush=True)
        if tree % CHECKPOINT_EVERY == 0 and tree < TREES:
            ctx.checkpoint({"trees": tree, "booster": env.model.model_to_string()})

    return after_tree
