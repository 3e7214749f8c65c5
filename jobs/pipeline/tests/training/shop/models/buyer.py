"""A small LightGBM that can be made to fail after a tree, once, to go on from its checkpoint."""

import lightgbm as lgb

TREES = 12


def train(ctx, dataset, out):
    frame = dataset.to_pandas(categorical=True)
    rows = lgb.Dataset(frame[dataset.features], label=frame[dataset.label].astype(int))
    params = {
        "objective": "binary",
        "num_leaves": 4,
        "learning_rate": ctx.params["learning_rate"],
        "deterministic": True,
        "num_threads": 1,
        "seed": 1,
        "verbose": -1,
    }
    kept = ctx.last_checkpoint
    booster = lgb.Booster(model_str=kept["booster"]) if kept else None
    done = booster.num_trees() if booster else 0
    ctx.log_params({"trees": TREES, "rows": len(frame)})

    def after_tree(env):
        tree = env.iteration + 1
        print(f"tree {tree}", flush=True)
        if tree % 4 == 0:
            ctx.checkpoint({"booster": env.model.model_to_string()})
        if tree == ctx.params["fail_at"] and not kept:
            raise RuntimeError(f"told to fail at tree {tree}")

    booster = lgb.train(params, rows, num_boost_round=TREES - done, init_model=booster, callbacks=[after_tree])
    booster.save_model(out / "model.txt")
    ctx.log_metrics({"trees": booster.num_trees()})
    return {"trees": booster.num_trees()}
