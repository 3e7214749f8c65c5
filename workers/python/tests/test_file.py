"""Model files as people have them: each becomes a folder that answers as the model does, or is refused."""

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import lightgbm
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from tidemill import Dataset, models
from tidemill.models import file, folder, predictors

INPUTS = {"carrier": "string", "hour": "int", "delay": "float"}
OUTPUTS = {"p": "float"}
Make = Callable[[Path], Any]

mlflow_saves = pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="MLflow is not installed")


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    count = 600
    delay = np.where(rng.random(count) < 0.1, np.nan, rng.normal(size=count))
    carrier = rng.choice(["AA", "UA", "WN"], count)
    return pd.DataFrame({"carrier": carrier, "hour": rng.integers(0, 24, count), "delay": delay})


@pytest.fixture(scope="module")
def label(rows: pd.DataFrame) -> Any:
    return ((rows["hour"] > 12) ^ (rows["carrier"] == "AA")).astype(int)


@pytest.fixture(scope="module")
def words(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(carrier=pd.Categorical(rows["carrier"]))


@pytest.fixture(scope="module")
def encoded(rows: pd.DataFrame, label: Any) -> Any:
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["carrier"]), (SimpleImputer(), ["hour", "delay"])
    )
    return make_pipeline(columns, LogisticRegression()).fit(rows, label)


@pytest.fixture(scope="module")
def boosted(words: pd.DataFrame, label: Any) -> Any:
    return lightgbm.LGBMClassifier(n_estimators=10, verbose=-1).fit(words, label)


@pytest.fixture(scope="module")
def sorted_columns(words: pd.DataFrame, label: Any) -> Any:
    """Trained on its columns in another order than they are declared in."""
    xgboost = pytest.importorskip("xgboost")
    return xgboost.XGBClassifier(n_estimators=10, enable_categorical=True).fit(words[sorted(words)], label)


def wrapped(tmp_path: Path, make: Make, rows: pd.DataFrame, flavor: str, inputs: dict[str, str] = INPUTS) -> Any:
    """What the folder made of a file says of all rows; the sample is a part of them, as CSV."""
    given, out = tmp_path / "given", tmp_path / "out"
    given.mkdir()
    out.mkdir()
    make(given)
    rows.head(200).to_csv(tmp_path / "rows.csv", index=False)
    sample = file.read_sample(tmp_path / "rows.csv", inputs, tmp_path / "sample.parquet")
    file.wrap_file(given, out, flavor, Dataset([sample], inputs, None, OUTPUTS))
    typed = folder.typed(rows, folder.Signature.read(out))
    return predictors.load(out).predict(typed).column("p").to_numpy()


def pickled(model: Any) -> Make:
    return lambda given: (given / "churn.pkl").write_bytes(cloudpickle.dumps(model))


def test_a_pickled_pipeline_answers_as_it_does_in_memory(tmp_path: Path, rows: pd.DataFrame, encoded: Any) -> None:
    got = wrapped(tmp_path, pickled(encoded), rows, "sklearn")
    assert np.array_equal(got, encoded.predict_proba(rows)[:, 1])


def test_joblib_writes_pickles_too(tmp_path: Path, rows: pd.DataFrame, encoded: Any) -> None:
    got = wrapped(tmp_path, lambda given: joblib.dump(encoded, given / "churn.joblib"), rows, "sklearn")
    assert np.array_equal(got, encoded.predict_proba(rows)[:, 1])


@pytest.mark.parametrize("name", ["churn.pkl", "churn.JOBLIB"])
def test_what_joblib_wrote_may_have_any_ending(tmp_path: Path, rows: pd.DataFrame, encoded: Any, name: str) -> None:
    got = wrapped(tmp_path, lambda given: joblib.dump(encoded, given / name, compress=3), rows, "sklearn")
    assert np.array_equal(got, encoded.predict_proba(rows)[:, 1])


def test_a_pickled_booster_keeps_its_categories(tmp_path: Path, rows: pd.DataFrame, words: Any, boosted: Any) -> None:
    # The sample's first rows know no WN: the model does.
    few = rows.sort_values("carrier", ignore_index=True)
    got = wrapped(tmp_path, pickled(boosted), few, "lightgbm")
    again = few.assign(carrier=pd.Categorical(few["carrier"], categories=words["carrier"].cat.categories))
    assert set(few.head(200)["carrier"]) < set(few["carrier"])
    assert np.array_equal(got, boosted.predict_proba(again)[:, 1])


@pytest.mark.parametrize("name", ["churn.pkl", "churn.ubj", "churn.json"])
def test_columns_are_put_in_the_model_s_own_order(
    tmp_path: Path, rows: pd.DataFrame, words: pd.DataFrame, sorted_columns: Any, name: str
) -> None:
    make = pickled(sorted_columns)
    if not name.endswith(".pkl"):
        make = lambda given: sorted_columns.save_model(given / name)  # noqa: E731
    got = wrapped(tmp_path, make, rows, "xgboost")
    assert np.array_equal(got, sorted_columns.predict_proba(words[sorted(words)])[:, 1])


def test_what_declares_python_is_asked_by_its_predict(tmp_path: Path, rows: pd.DataFrame, encoded: Any) -> None:
    got = wrapped(tmp_path, pickled(encoded), rows, "python")
    assert set(got) == {0.0, 1.0}


def test_a_folder_of_ours_is_taken_as_it_is(tmp_path: Path, rows: pd.DataFrame, encoded: Any) -> None:
    make = lambda given: models.save(given, encoded, rows, outputs=OUTPUTS)  # noqa: E731
    got = wrapped(tmp_path, make, rows, "sklearn")
    assert np.array_equal(got, encoded.predict_proba(rows)[:, 1])


def test_what_can_t_be_proven_is_refused(tmp_path: Path, rows: pd.DataFrame, label: Any, encoded: Any) -> None:
    numbers = {"hour": "int", "delay": "float"}
    array = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(rows[["hour", "delay"]].to_numpy(), label)
    cases: list[tuple[str, Make, dict[str, str], str]] = [
        ("names", pickled(array), numbers, "no names for its 2 columns, so their order can't be proven"),
        ("columns", pickled(encoded), numbers, r"trained on carrier, hour, delay, but is given hour, delay"),
        ("pickle", lambda given: (given / "a.pkl").write_bytes(b"x"), INPUTS, "a.pkl can't be unpickled"),
        (
            "module",
            lambda given: (given / "a.pkl").write_bytes(b"cnowhere\nx\n."),
            INPUTS,
            "needs the module `nowhere`",
        ),
        ("ending", lambda given: (given / "a.h5").write_bytes(b"x"), INPUTS, "a.h5: give a file ending in .pkl"),
        ("two", lambda given: [(given / name).touch() for name in "ab"], INPUTS, "has no MLmodel and no tidemill.json"),
        ("none", lambda _: None, INPUTS, "but nothing"),
    ]
    for name, make, inputs, told in cases:
        (tmp_path / name).mkdir()
        with pytest.raises(models.ModelError, match=told):
            wrapped(tmp_path / name, make, rows, "sklearn", inputs)


def test_a_sample_has_the_declared_columns_and_types(tmp_path: Path) -> None:
    cases = [
        ("rows.csv", "carrier,hour\nAA,1\n", "rows.csv lacks delay; it has carrier, hour"),
        ("rows.csv", "carrier,hour,delay\nAA,one,1.5\n", "rows.csv: .*one"),
        ("rows.csv", "carrier,hour,delay\n", "has no rows"),
        ("rows.csv", "carrier,hour,delay,hour\nAA,1,1.5,2\n", "rows.csv has hour more than once"),
        ("rows.parquet", "carrier", "rows.parquet can't be read as Parquet"),
        ("rows.xlsx", "", "rows.xlsx is no sample"),
    ]
    for name, text, told in cases:
        (tmp_path / name).write_text(text)
        with pytest.raises(models.ModelError, match=told):
            file.read_sample(tmp_path / name, INPUTS, tmp_path / "kept.parquet")
    (tmp_path / "rows.csv").write_text("carrier,hour,delay\nNA,1,\n,2,nan\n")
    kept = pq.read_table(file.read_sample(tmp_path / "rows.csv", INPUTS, tmp_path / "kept.parquet"))
    assert kept.column("carrier").to_pylist() == ["NA", None]
    frame = pd.DataFrame({"carrier": ["AA"], "hour": [1.5], "delay": [0.0]})
    frame.to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(models.ModelError, match="column `hour`, which is declared as int"):
        file.read_sample(tmp_path / "rows.parquet", INPUTS, tmp_path / "kept.parquet")


def of_mlflow(flavor: str, model: Any, rows: pd.DataFrame, **how: Any) -> Make:
    def make(given: Path) -> None:
        from mlflow.models import infer_signature

        shutil.rmtree(given)
        module = importlib.import_module(f"mlflow.{flavor}")
        signature = infer_signature(rows, np.array([0.5]))
        what = {"python_model": model} if flavor == "pyfunc" else {_ARGUMENT[flavor]: model}
        # Those that it would find out take it a process and some seconds.
        module.save_model(path=str(given), signature=signature, pip_requirements=[], **what, **how)

    return make


_ARGUMENT = {"sklearn": "sk_model", "lightgbm": "lgb_model", "xgboost": "xgb_model", "onnx": "onnx_model"}


@mlflow_saves
def test_folders_that_mlflow_saved_answer_unchanged(
    tmp_path: Path, rows: pd.DataFrame, words: pd.DataFrame, encoded: Any, boosted: Any, sorted_columns: Any
) -> None:
    import mlflow.pyfunc

    class Half(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:  # noqa: ARG002
            return model_input["hour"].fillna(0).astype(float) / 24

    by_pickle = {"serialization_format": "cloudpickle"}
    own = words[sorted(words)]
    cases = [
        ("sklearn", "sklearn", encoded, rows, by_pickle, encoded.predict_proba(rows)[:, 1]),
        ("lightgbm", "lightgbm", boosted.booster_, rows, {}, boosted.predict_proba(words)[:, 1]),
        ("lightgbm", "lightgbm", boosted, rows, by_pickle, boosted.predict_proba(words)[:, 1]),
        ("xgboost", "xgboost", sorted_columns, rows[sorted(rows)], {}, sorted_columns.predict_proba(own)[:, 1]),
        ("pyfunc", "python", Half(), rows, {}, rows["hour"] / 24),
        ("sklearn", "python", encoded, rows, by_pickle, encoded.predict(rows)),
    ]
    for place, (flavor, runtime, model, frame, how, expected) in enumerate(cases):
        at = tmp_path / str(place)
        at.mkdir()
        got = wrapped(at, of_mlflow(flavor, model, frame, **how), rows, runtime)
        assert np.array_equal(got, np.asarray(expected, dtype=float)), (flavor, runtime)
        kept = sorted(path.name for path in (at / "given").iterdir())
        assert set(kept) <= {path.name for path in (at / "out").iterdir()}


def by_hand(given: Path, flavor: str, key: str, model: Any, name: str = "model.pkl") -> None:
    """A folder as MLflow lays it out."""
    (given / name).write_bytes(cloudpickle.dumps(model))
    told = {"flavors": {flavor: {key: name}, "python_function": {key: name}}}
    (given / "MLmodel").write_text(json.dumps(told))  # JSON is YAML


def test_what_a_folder_of_mlflow_lacks_is_told(tmp_path: Path, rows: pd.DataFrame, label: Any, encoded: Any) -> None:
    numbers = {"hour": "int", "delay": "float"}
    array = make_pipeline(SimpleImputer(), LogisticRegression()).fit(rows[["hour", "delay"]].to_numpy(), label)
    cases: list[tuple[Make, dict[str, str], str]] = [
        (
            lambda given: by_hand(given, "sklearn", "pickled_model", encoded, "model.skops"),
            INPUTS,
            'save it with serialization_format="cloudpickle"',
        ),
        (
            lambda given: by_hand(given, "sklearn", "pickled_model", array),
            numbers,
            r"has no signature, .*; pass signature=infer_signature\(rows\) to save_model",
        ),
    ]
    for place, (make, inputs, told) in enumerate(cases):
        (tmp_path / str(place)).mkdir()
        with pytest.raises(models.ModelError, match=told):
            wrapped(tmp_path / str(place), make, rows, "sklearn", inputs)


def with_classes(tmp_path: Path, make: Make, rows: pd.DataFrame, flavor: str, classes: list[str]) -> Any:
    """What a folder says of the first of the declared classes."""
    given, out = tmp_path / "given", tmp_path / "out"
    given.mkdir(parents=True)
    out.mkdir()
    make(given)
    numbers = {"hour": "int", "delay": "float"}
    sample = tmp_path / "sample.parquet"
    rows[list(numbers)].to_parquet(sample)
    outputs = {"late": {"type": "class", "classes": classes}}
    file.wrap_file(given, out, flavor, Dataset([sample], numbers, None, outputs))
    told = predictors.load(out).predict(folder.typed(rows, folder.Signature.read(out))).column("late")
    return np.array(told.to_pylist())[:, 0]


IN_ANOTHER_ORDER = "learnt its classes in the order no, yes: declare them in this order"


def test_classes_in_another_order_than_a_pickled_booster_learnt_are_refused(
    tmp_path: Path, rows: pd.DataFrame, label: Any
) -> None:
    numbers = rows[["hour", "delay"]]
    boosted = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(numbers, np.where(label, "yes", "no"))
    make = lambda given: by_hand(given, "lightgbm", "data", boosted)  # noqa: E731
    with pytest.raises(models.ModelError, match=IN_ANOTHER_ORDER):
        with_classes(tmp_path / "swapped", make, rows, "lightgbm", ["yes", "no"])


@mlflow_saves
def test_classes_in_another_order_than_mlflow_gives_are_refused(tmp_path: Path, rows: pd.DataFrame, label: Any) -> None:
    numbers = rows[["hour", "delay"]].astype({"hour": "float"})
    model = make_pipeline(SimpleImputer(), LogisticRegression()).fit(numbers, np.where(label, "yes", "no"))
    how = {"serialization_format": "cloudpickle", "pyfunc_predict_fn": "predict_proba"}
    make = of_mlflow("sklearn", model, rows[["hour", "delay"]], **how)
    got = with_classes(tmp_path / "learnt", make, rows, "python", ["no", "yes"])
    assert np.array_equal(got, model.predict_proba(numbers)[:, 0])
    with pytest.raises(models.ModelError, match=IN_ANOTHER_ORDER):
        with_classes(tmp_path / "swapped", make, rows, "python", ["yes", "no"])
