"""Trains models of every kind that is read, and writes what their own library says of rows made to be difficult.

For each model `NAME` in the folder that is given: its file, `NAME.rows`, `NAME.margins` and `NAME.said` (f64,
little-endian, row-major), and a line of `models.json`. The calls are those of `tidemill.models.predictors`.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import xgboost

ROWS, FEATURES, CATEGORICAL = 17_000, 7, [5, 6]
ZERO = float(np.float32(1e-35))

rng = np.random.default_rng(20261201)
told: list[dict[str, Any]] = []


def training(rows: int = 900) -> np.ndarray:
    """Columns of all sorts: zeros, what is missing, whole numbers, categories in the last two."""
    table = rng.normal(size=(rows, FEATURES))
    table[:, 1] = rng.integers(-5, 6, rows)
    table[rng.random((rows, FEATURES)) < 0.1] = 0.0
    table[:, 3] = np.where(rng.random(rows) < 0.6, 0.0, table[:, 3])
    table[:, 4] *= 10.0 ** rng.integers(-6, 6, rows)
    table[:, 5] = rng.integers(0, 4, rows)
    table[:, 6] = rng.integers(0, 90, rows)
    table[(rng.random((rows, FEATURES)) < 0.08) & (np.arange(FEATURES) % 2 == 0)] = np.nan
    return table


TABLE = training()
SCORE = (
    np.nan_to_num(TABLE[:, 0]) + np.sin(np.nan_to_num(TABLE[:, 6])) + (TABLE[:, 1] > 2) - np.nan_to_num(TABLE[:, 5]) / 3
)
NOISE = rng.normal(size=len(TABLE))
YES = (SCORE + NOISE > 0).astype(float)
CLASS = np.digitize(SCORE + NOISE, [-1.0, 0.5])
COUNT = rng.poisson(np.exp(np.clip(SCORE, -3, 2)))
POSITIVE = np.exp(SCORE + NOISE / 2)
GROUPS = np.full(len(TABLE) // 30, 30)


def rows_for(thresholds: list[set[float]], single: bool) -> np.ndarray:
    """Thresholds, their neighbours in both precisions, and what else may come."""
    most = 3e38 if single else np.inf
    wild = [0.0, -0.0, np.nan, np.nan, 1e-36, -1e-36, ZERO, -ZERO, np.nextafter(ZERO, 1), -np.nextafter(ZERO, 1)]
    wild += [1.0, -1.0, 2.0**24 + 1, 2.0**53, -(2.0**53), 2.0**63, 1e-300, most, -most, 1e38, -1e38, 5e-324]
    codes = [
        *range(8),
        31,
        32,
        63,
        64,
        89,
        90,
        91,
        500,
        -1,
        -0.5,
        0.5,
        3.999,
        16_777_215,
        16_777_216,
        2**31,
        3e9,
        np.nan,
    ]
    table = np.empty((ROWS, FEATURES))
    for column in range(FEATURES):
        met = np.array(sorted(thresholds[column]) or [0.0])
        near = [met, np.nextafter(met, np.inf), np.nextafter(met, -np.inf), -met]
        narrow = met.astype(np.float32)
        near += [
            np.nextafter(narrow, np.float32(most)).astype(float),
            np.nextafter(narrow, -np.float32(most)).astype(float),
        ]
        # Between two 32-bit floats, where rounding decides.
        near += [(narrow.astype(float) + np.nextafter(narrow, np.float32(-most)).astype(float)) / 2]
        near += [np.nextafter(near[-1], np.inf), np.nextafter(near[-1], -np.inf)]
        pool = np.concatenate(near)
        pool = pool[np.abs(pool) <= most] if single else pool
        kind = rng.random(ROWS)
        values = np.where(kind < 0.5, rng.choice(pool, ROWS), rng.normal(size=ROWS) * 10.0 ** rng.integers(-3, 4, ROWS))
        values = np.where(kind > 0.8, rng.choice(wild, ROWS), values)
        values = np.where((kind > 0.7) & (kind < 0.8), rng.choice(TABLE[:, column], ROWS), values)
        if column in CATEGORICAL:
            values = np.where(kind < 0.9, rng.integers(0, 96 if column == 6 else 6, ROWS), rng.choice(codes, ROWS))
        table[:, column] = values
    return table


def write(name: str, library: str, file: str, rows: np.ndarray, margins: Any, said: Any, **more: Any) -> None:
    """Writes what one model says."""
    for what, values in [("rows", rows), ("margins", margins), ("said", said)]:
        np.ascontiguousarray(values, dtype="<f8").tofile(folder / f"{name}.{what}")
    told.append({"name": name, "library": library, "file": file, **more})


def refused(name: str, library: str, file: str, reason: str) -> None:
    """A model that isn't read."""
    told.append({"name": name, "library": library, "file": file, "refused": reason})


def lgb(name: str, label: np.ndarray, rounds: int = 30, **parameters: Any) -> None:
    """Trains and asks a booster of LightGBM, as it comes back from its file."""
    settings = {"verbose": -1, "num_threads": 1, "seed": 1, "deterministic": True, "min_data_in_leaf": 5} | parameters
    settings.setdefault("categorical_feature", CATEGORICAL)
    columns = settings.pop("categorical_feature")
    group, custom = settings.pop("group", None), settings.pop("custom", None)
    stop = settings.pop("stop", None)
    data = lightgbm.Dataset(TABLE, label, group=group, categorical_feature=columns, free_raw_data=False)
    if custom:
        settings["objective"] = custom
    more: dict[str, Any] = {}
    if stop:
        held = lightgbm.Dataset(TABLE[:300], rng.permutation(label)[:300], reference=data, categorical_feature=columns)
        more = {"valid_sets": [held], "callbacks": [lightgbm.early_stopping(3, verbose=False)]}
    trained = lightgbm.train(settings, data, rounds, **more)
    trained.save_model(folder / f"{name}.txt")
    booster = lightgbm.Booster(model_file=folder / f"{name}.txt")
    if settings.get("linear_tree"):
        return refused(name, "lightgbm", f"{name}.txt", "a tree with linear leaves")
    thresholds: list[set[float]] = [set() for _ in range(FEATURES)]
    if booster.num_trees():
        for tree in booster.dump_model()["tree_info"]:
            gather(tree["tree_structure"], thresholds)
    rows = rows_for(thresholds, single=False)
    margins = booster.predict(rows, num_threads=1, raw_score=True)
    return write(name, "lightgbm", f"{name}.txt", rows, margins, booster.predict(rows, num_threads=1))


def gather(node: dict[str, Any], thresholds: list[set[float]]) -> None:
    """The thresholds of a tree of LightGBM."""
    if "threshold" in node:
        if node["decision_type"] == "<=":
            thresholds[node["split_feature"]].add(float(node["threshold"]))
        gather(node["left_child"], thresholds)
        gather(node["right_child"], thresholds)


NAMES = [f"f{place}" for place in range(FEATURES)]
KINDS = ["c" if place in CATEGORICAL else "q" for place in range(FEATURES)]


def matrix(rows: np.ndarray, kinds: list[str], **more: Any) -> xgboost.DMatrix:
    """Rows as the predictor hands them over."""
    return xgboost.DMatrix(
        rows, feature_names=NAMES, feature_types=kinds, enable_categorical="c" in kinds, nthread=1, **more
    )


def xgb(name: str, label: np.ndarray, rounds: int = 30, **parameters: Any) -> None:
    """Trains and asks a booster of XGBoost, as it comes back from its file."""
    settings = {"nthread": 1, "seed": 1, "tree_method": "hist", "max_depth": 5} | parameters
    kinds = KINDS if settings.pop("categorical", False) else ["q"] * FEATURES
    group, reason = settings.pop("group", None), settings.pop("refused", None)
    bounds = settings.pop("bounds", {})
    data = matrix(TABLE, kinds, label=label, **bounds)
    if group is not None:
        data.set_group(group)
    trained = xgboost.train(settings, data, rounds)
    ask_xgb(name, trained, kinds, (0, 0), reason)


def ask_xgb(name: str, trained: Any, kinds: list[str], rounds: tuple[int, int], reason: str | None) -> None:
    """Both of its formats, in turn."""
    file = f"{name}.{'ubj' if len(told) % 2 else 'json'}"
    trained.save_model(folder / file)
    if reason:
        return refused(name, "xgboost", file, reason)
    booster = xgboost.Booster(model_file=folder / file)
    booster.set_param({"nthread": 1})
    thresholds: list[set[float]] = [set() for _ in range(FEATURES)]
    splits = booster.trees_to_dataframe()
    for feature, threshold in zip(splits["Feature"], splits["Split"], strict=True):
        if feature != "Leaf" and np.isfinite(threshold):
            thresholds[int(feature[1:])].add(float(np.float32(threshold)))
    rows = rows_for(thresholds, single=True)
    ask: Callable[..., Any] = lambda **more: booster.predict(  # noqa: E731
        matrix(rows, kinds), validate_features=False, iteration_range=rounds, **more
    )
    return write(name, "xgboost", file, rows, ask(output_margin=True), ask())


def stopped() -> None:
    """A model of scikit-learn's form that answers with its best rounds."""
    model = xgboost.XGBClassifier(n_estimators=40, early_stopping_rounds=2, max_depth=6, n_jobs=1)
    model.fit(TABLE, YES, eval_set=[(TABLE[:300], rng.permutation(YES)[:300])], verbose=False)
    booster = model.get_booster()
    booster.feature_names = NAMES
    best = model.best_iteration + 1
    assert best < booster.num_boosted_rounds()
    ask_xgb("xgb_stopped", model, ["q"] * FEATURES, (0, best), None)


def squared(predicted: np.ndarray, data: lightgbm.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """An objective of one's own."""
    return predicted - data.get_label(), np.ones_like(predicted)


def main() -> None:
    """All of them."""
    lgb("lgb_binary", YES, objective="binary")
    lgb("lgb_sigmoid", YES, objective="binary", sigmoid=0.7, is_unbalance=True)
    lgb("lgb_regression", SCORE, objective="regression")
    lgb("lgb_sqrt", SCORE, objective="regression", reg_sqrt=True)
    for objective in ["regression_l1", "huber", "fair", "quantile", "mape"]:
        lgb(f"lgb_{objective}", SCORE, objective=objective, rounds=15)
    lgb("lgb_poisson", COUNT, objective="poisson")
    lgb("lgb_gamma", POSITIVE, objective="gamma")
    lgb("lgb_tweedie", POSITIVE, objective="tweedie", tweedie_variance_power=1.3)
    lgb("lgb_multiclass", CLASS, objective="multiclass", num_class=3)
    lgb("lgb_ova", CLASS, objective="multiclassova", num_class=3, sigmoid=1.3)
    lgb("lgb_cross_entropy", YES, objective="cross_entropy")
    lgb("lgb_cross_entropy_lambda", YES, objective="cross_entropy_lambda")
    lgb("lgb_lambdarank", CLASS, objective="lambdarank", group=GROUPS)
    lgb("lgb_xendcg", CLASS, objective="rank_xendcg", group=GROUPS)
    lgb("lgb_custom", SCORE, custom=squared)
    lgb("lgb_dart", YES, objective="binary", boosting="dart", drop_rate=0.5)
    forest = {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}
    lgb("lgb_rf", YES, objective="binary", **forest)
    lgb("lgb_rf_regression", SCORE, objective="regression", rounds=17, **forest)
    lgb("lgb_rf_multiclass", CLASS, objective="multiclass", num_class=3, rounds=13, **forest)
    lgb("lgb_goss", YES, objective="binary", data_sample_strategy="goss")
    lgb("lgb_no_missing", YES, objective="binary", use_missing=False)
    lgb("lgb_zero_missing", YES, objective="binary", zero_as_missing=True)
    lgb("lgb_numbers", YES, objective="binary", categorical_feature=[])
    lgb("lgb_zero_numbers", SCORE, objective="regression", zero_as_missing=True, categorical_feature=[])
    lgb("lgb_one_hot", YES, objective="binary", max_cat_to_onehot=200)
    lgb("lgb_sets", YES, objective="binary", max_cat_to_onehot=1, min_data_per_group=5, cat_smooth=1, cat_l2=1)
    lgb("lgb_deep", SCORE, objective="regression", num_leaves=400, min_data_in_leaf=1, learning_rate=0.5)
    lgb("lgb_stumps", YES, objective="binary", num_leaves=2, rounds=100)
    lgb("lgb_constant", np.ones(len(TABLE)), objective="regression")
    lgb("lgb_extra", YES, objective="binary", extra_trees=True)
    lgb("lgb_stopped", YES, objective="binary", stop=True, learning_rate=0.3)
    lgb("lgb_linear", SCORE, objective="regression", linear_tree=True)

    xgb("xgb_logistic", YES, objective="binary:logistic")
    xgb("xgb_certain", np.ones(len(TABLE)), objective="binary:logistic", rounds=5)
    xgb("xgb_base", YES, objective="binary:logistic", base_score=0.123)
    for objective in ["squarederror", "absoluteerror", "pseudohubererror"]:
        xgb(f"xgb_{objective}", SCORE, objective=f"reg:{objective}", rounds=15)
    xgb("xgb_squaredlogerror", POSITIVE, objective="reg:squaredlogerror")
    xgb("xgb_quantiles", SCORE, objective="reg:quantileerror", quantile_alpha=[0.1, 0.5, 0.9])
    for objective in ["reg:logistic", "binary:logitraw", "binary:hinge"]:
        xgb(f"xgb_{objective.partition(':')[2]}_{objective[:3]}", YES, objective=objective, rounds=15)
    xgb("xgb_poisson", COUNT, objective="count:poisson")
    xgb("xgb_gamma", POSITIVE, objective="reg:gamma")
    xgb("xgb_tweedie", POSITIVE, objective="reg:tweedie", tweedie_variance_power=1.3)
    xgb("xgb_cox", POSITIVE * np.where(YES, 1, -1), objective="survival:cox")
    xgb("xgb_softprob", CLASS, objective="multi:softprob", num_class=3)
    xgb("xgb_softmax", CLASS, objective="multi:softmax", num_class=3)
    for objective in ["pairwise", "ndcg", "map"]:
        label = YES if objective == "map" else CLASS
        xgb(f"xgb_{objective}", label, objective=f"rank:{objective}", group=GROUPS, rounds=15)
    xgb("xgb_dart", YES, objective="binary:logistic", booster="dart", rate_drop=0.5)
    xgb("xgb_dart_classes", CLASS, objective="multi:softprob", num_class=3, booster="dart", rate_drop=0.3)
    forest = {"num_parallel_tree": 7, "subsample": 0.5, "colsample_bynode": 0.6}
    xgb("xgb_rf", SCORE, objective="reg:squarederror", rounds=2, learning_rate=1, **forest)
    xgb("xgb_rf_classes", CLASS, objective="multi:softprob", num_class=3, rounds=3, **forest)
    xgb("xgb_one_hot", YES, objective="binary:logistic", categorical=True, max_cat_to_onehot=200)
    xgb("xgb_sets", YES, objective="binary:logistic", categorical=True, max_cat_to_onehot=1, max_cat_threshold=100)
    xgb("xgb_sets_classes", CLASS, objective="multi:softprob", num_class=3, categorical=True, max_cat_to_onehot=1)
    xgb("xgb_leaf_wise", SCORE, objective="reg:squarederror", grow_policy="lossguide", max_leaves=300, max_depth=0)
    xgb("xgb_deep", SCORE, objective="reg:squarederror", max_depth=14, min_child_weight=0)
    xgb("xgb_exact", YES, objective="binary:logistic", tree_method="exact", gamma=1.0)
    xgb("xgb_targets", np.column_stack([SCORE, NOISE]), objective="reg:squarederror")
    stopped()
    xgb("xgb_linear", SCORE, booster="gblinear", refused="XGBoost's booster `gblinear`")
    vectors = {"multi_strategy": "multi_output_tree", "refused": "a tree whose leaves are vectors"}
    xgb("xgb_vectors", np.column_stack([SCORE, NOISE]), objective="reg:squarederror", **vectors)
    bounds = {"label_lower_bound": POSITIVE, "label_upper_bound": POSITIVE}
    xgb("xgb_aft", POSITIVE, objective="survival:aft", bounds=bounds, refused="XGBoost's objective `survival:aft`")
    (folder / "models.json").write_text(json.dumps(told))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    xgboost.set_config(verbosity=0)
    folder = Path(sys.argv[1])
    main()
