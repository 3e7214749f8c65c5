"""What is served is what the author's own object says, or the folder is refused with the reason."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xgboost
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from tidemill import Dataset, models
from tidemill.models import bare, folder, predictors

OUTPUTS = {"p": "float"}
INPUTS = {"speed": "float", "hour": "int", "delay": "float"}


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {"speed": rng.normal(size=600), "hour": rng.integers(0, 24, 600), "delay": rng.normal(size=600)}
    )


@pytest.fixture
def words(frame: pd.DataFrame) -> pd.DataFrame:
    """With a column of text whose order of appearance is not its alphabet's."""
    carriers = np.random.default_rng(2).choice(["WN", "AA", "UA"], len(frame))
    return frame.assign(carrier=pd.Categorical(carriers, categories=["WN", "AA", "UA"]))


def label(frame: pd.DataFrame) -> Any:
    flips = np.random.default_rng(3).random(len(frame)) < 0.3
    return ((frame["speed"] + frame["hour"] / 12 > 1) ^ flips).astype(int)


def served(out: Path, frame: pd.DataFrame) -> Any:
    plain = frame.astype({name: "str" for name in frame if isinstance(frame[name].dtype, pd.CategoricalDtype)})
    return predictors.load(out).predict(pa.Table.from_pandas(plain, preserve_index=False)).column("p").to_numpy()


def left(out: Path, frame: pd.DataFrame, inputs: dict[str, str] = INPUTS) -> None:
    """Completes a bare file as a step's end does."""
    plain = frame.astype({name: "str" for name in frame if isinstance(frame[name].dtype, pd.CategoricalDtype)})
    pq.write_table(pa.Table.from_pandas(plain[list(inputs)], preserve_index=False), out / "rows.parquet")
    bare.wrap(out, Dataset([out / "rows.parquet"], inputs, "late", OUTPUTS))


def boosted(kind: str, frame: pd.DataFrame) -> Any:
    """A classifier that stopped early, long before its last round."""
    half = len(frame) // 2
    noise = np.random.default_rng(4).integers(0, 2, len(frame) - half)
    if kind == "xgboost":
        model = xgboost.XGBClassifier(n_estimators=80, learning_rate=0.9, early_stopping_rounds=10)
        model.fit(frame[:half], label(frame)[:half], eval_set=[(frame[half:], noise)], verbose=False)
        assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
        return model
    model = lightgbm.LGBMClassifier(n_estimators=80, learning_rate=0.9, verbose=-1)
    stop = lightgbm.early_stopping(10, verbose=False)
    return model.fit(frame[:half], label(frame)[:half], eval_set=[(frame[half:], noise)], callbacks=[stop])


@pytest.mark.parametrize("kind", ["xgboost", "lightgbm"])
def test_a_classifier_that_stopped_early_answers_with_its_best_iteration(
    kind: str, frame: pd.DataFrame, tmp_path: Path
) -> None:
    model = boosted(kind, frame)
    models.save(tmp_path, model, frame, outputs=OUTPUTS)
    assert np.allclose(served(tmp_path, frame), model.predict_proba(frame)[:, 1], atol=1e-7, rtol=0)


def test_a_bare_file_of_a_classifier_that_stopped_early_answers_with_its_best_iteration(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    model = boosted("xgboost", frame)
    model.save_model(tmp_path / "model.ubj")
    left(tmp_path, frame)
    assert np.allclose(served(tmp_path, frame), model.predict_proba(frame)[:, 1], atol=1e-7, rtol=0)


def test_a_booster_that_does_not_say_which_rounds_count_is_refused_and_the_remedies_work(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    booster = boosted("xgboost", frame).get_booster()
    best = booster.best_iteration + 1
    with pytest.raises(models.ModelError, match=rf"the best {best} of its .* rounds"):
        models.save(tmp_path / "doubt", booster, frame, outputs=OUTPUTS)
    rows = xgboost.DMatrix(frame)
    models.save(tmp_path / "best", booster[:best], frame, outputs=OUTPUTS)
    assert np.allclose(served(tmp_path / "best", frame), booster.predict(rows, iteration_range=(0, best)))
    booster.set_attr(best_iteration=None)
    models.save(tmp_path / "all", booster, frame, outputs=OUTPUTS)
    assert np.allclose(served(tmp_path / "all", frame), booster.predict(rows))


@pytest.mark.parametrize("file", ["model.txt", "model.ubj", "model.json"])
@pytest.mark.parametrize("bare", [True, False])
def test_columns_are_found_by_the_names_in_the_file_whatever_their_order(
    file: str, bare: bool, frame: pd.DataFrame, tmp_path: Path
) -> None:
    own = frame[sorted(frame)]
    if file == "model.txt":
        model = lightgbm.train({"objective": "binary", "verbose": -1}, lightgbm.Dataset(own, label(own)), 20)
        said = model.predict(own)
    else:
        model = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(own, label(own)), 20)
        said = model.predict(xgboost.DMatrix(own))
    if bare:
        model.save_model(str(tmp_path / file))
        left(tmp_path, frame)
    else:
        models.save(tmp_path, model, frame, outputs=OUTPUTS)
    assert [column.name for column in folder.Signature.read(tmp_path).columns] == list(frame)
    assert np.allclose(served(tmp_path, frame), said, atol=1e-12, rtol=0)


@pytest.mark.parametrize("file", ["model.txt", "model.ubj"])
def test_a_bare_file_with_other_names_or_none_is_refused(file: str, frame: pd.DataFrame, tmp_path: Path) -> None:
    for names, told in (("abc", "a, b, c"), (None, "no names")):
        rows = frame.to_numpy() if names is None else frame.set_axis(list(names), axis=1)
        if file == "model.txt":
            model = lightgbm.train({"objective": "binary", "verbose": -1}, lightgbm.Dataset(rows, label(frame)), 3)
        else:
            model = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(rows, label(frame)), 3)
        model.save_model(str(tmp_path / file))
        with pytest.raises(models.ModelError, match=told):
            left(tmp_path, frame)
    # The remedy: with the frame in hand the order is the author's.
    models.save(tmp_path / "saved", model, frame, outputs=OUTPUTS)
    rows = frame.to_numpy()
    said = model.predict(rows if file == "model.txt" else xgboost.DMatrix(rows))
    assert np.allclose(served(tmp_path / "saved", frame), said, atol=1e-12, rtol=0)


@pytest.mark.parametrize("file", ["model.txt", "model.ubj", "model.onnx"])
def test_text_without_recorded_categories_is_refused(file: str, words: pd.DataFrame, tmp_path: Path) -> None:
    by_hand = words.assign(carrier=pd.factorize(words["carrier"])[0])
    if file == "model.txt":
        data = lightgbm.Dataset(by_hand, label(words))
        lightgbm.train({"objective": "binary", "verbose": -1}, data, 20).save_model(str(tmp_path / file))
    elif file == "model.ubj":
        data = xgboost.DMatrix(by_hand, label(words))
        xgboost.train({"objective": "binary:logistic"}, data, 20).save_model(tmp_path / file)
    else:
        skl2onnx = pytest.importorskip("skl2onnx")
        model = LogisticRegression().fit(by_hand.to_numpy(), label(words))
        graph = skl2onnx.to_onnx(model, by_hand.to_numpy(np.float32)[:1])
        (tmp_path / file).write_bytes(graph.SerializeToString())
    with pytest.raises(models.ModelError, match=r"`carrier`.*no categories"):
        left(tmp_path, words, {**INPUTS, "carrier": "string"})


@pytest.mark.parametrize("file", ["model.txt", "model.ubj"])
@pytest.mark.parametrize("bare", [True, False])
def test_categories_are_those_of_the_model_in_its_order(
    file: str, bare: bool, words: pd.DataFrame, tmp_path: Path
) -> None:
    own = words[sorted(words)].assign(size=pd.Categorical(np.where(words["hour"] > 12, "big", "a-small")))
    if file == "model.txt":
        model = lightgbm.train({"objective": "binary", "verbose": -1}, lightgbm.Dataset(own, label(own)), 20)
        said = model.predict(own)
    else:
        data = xgboost.DMatrix(own, label(own), enable_categorical=True)
        model = xgboost.train({"objective": "binary:logistic"}, data, 20)
        said = model.predict(xgboost.DMatrix(own, enable_categorical=True))
    given = own[["size", *words]]
    # The author's frame may have its categories in another order by now: the model's count.
    given = given.assign(carrier=given["carrier"].cat.reorder_categories(["AA", "UA", "WN"]))
    if bare:
        model.save_model(str(tmp_path / file))
        left(tmp_path, given, {"size": "string", **INPUTS, "carrier": "string"})
    else:
        models.save(tmp_path, model, given, outputs=OUTPUTS)
    assert np.allclose(served(tmp_path, given), said, atol=1e-12, rtol=0)


def test_a_saved_model_is_proven_on_the_frame_by_the_author_s_object(frame: pd.DataFrame, tmp_path: Path) -> None:
    class Forgetful:
        """Says something else once it was written and read."""

        def __init__(self) -> None:
            self.fitted = True

        def __getstate__(self) -> dict[str, Any]:
            return {"fitted": False}

        def predict(self, rows: pd.DataFrame) -> Any:
            return np.full(len(rows), 0.75 if self.fitted else 0.25)

    with pytest.raises(
        models.ModelError, match=r"row 0 of the frame: the model in memory predicts 0\.75 .* but the saved one 0\.25"
    ):
        models.save(tmp_path, Forgetful(), frame, outputs=OUTPUTS)
    assert not (tmp_path / folder.GOLDEN).exists()


def test_golden_rows_carry_what_the_author_s_object_says(frame: pd.DataFrame, tmp_path: Path) -> None:
    model = boosted("xgboost", frame)
    models.save(tmp_path, model, frame, outputs=OUTPUTS)
    golden = pa.ipc.open_stream((tmp_path / folder.GOLDEN).read_bytes()).read_all()
    said = model.predict_proba(golden.select(list(frame)).to_pandas())[:, 1].astype(float)
    assert np.array_equal(golden.column("expected.p").to_numpy(), said)


def test_a_frame_that_the_model_can_not_predict_is_refused(frame: pd.DataFrame, tmp_path: Path) -> None:
    model = LogisticRegression().fit(frame[["speed", "hour"]], label(frame))
    with pytest.raises(models.ModelError, match=r"was trained on speed, hour.*too many: delay"):
        models.save(tmp_path, model, frame, outputs=OUTPUTS)


def test_a_dataset_stands_for_the_frame(words: pd.DataFrame, tmp_path: Path) -> None:
    model = lightgbm.LGBMClassifier(n_estimators=10, verbose=-1).fit(words, label(words))
    pq.write_table(pa.Table.from_pandas(words.astype({"carrier": "str"})), tmp_path / "rows.parquet")
    dataset = Dataset([tmp_path / "rows.parquet"], {**INPUTS, "carrier": "string"}, "late", OUTPUTS)
    models.save(tmp_path / "saved", model, dataset)
    assert np.allclose(served(tmp_path / "saved", words), model.predict_proba(words)[:, 1], atol=1e-12, rtol=0)


def test_a_model_that_fails_on_nulls_says_of_which_columns(frame: pd.DataFrame, tmp_path: Path) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, label(frame))
    models.save(tmp_path, model, frame, outputs=OUTPUTS)
    assert folder.Signature.read(tmp_path).no_nulls == list(frame)
    golden = pa.ipc.open_stream((tmp_path / folder.GOLDEN).read_bytes()).read_all()
    assert len(golden) == 64
    assert golden.column("hour").null_count == 0


def test_only_the_columns_that_fail_are_named(frame: pd.DataFrame, tmp_path: Path) -> None:
    class Careful:
        def predict(self, rows: pd.DataFrame) -> Any:
            if rows["hour"].isna().any():
                raise ValueError("no hour")
            return rows["speed"].fillna(0.0) + rows["delay"]  # a null delay gives NaN, which is no answer either

    models.save(tmp_path, Careful(), frame, outputs=OUTPUTS)
    assert folder.Signature.read(tmp_path).no_nulls == ["hour", "delay"]
    golden = pa.ipc.open_stream((tmp_path / folder.GOLDEN).read_bytes()).read_all()
    assert [golden.column(name).null_count > 0 for name in frame] == [True, False, False]


def test_a_model_that_takes_nulls_names_no_column(frame: pd.DataFrame, tmp_path: Path) -> None:
    models.save(tmp_path, DecisionTreeClassifier(max_depth=3).fit(frame, label(frame)), frame, outputs=OUTPUTS)
    assert folder.Signature.read(tmp_path).no_nulls == []


@pytest.mark.parametrize("kind", ["sklearn", "xgboost", "lightgbm"])
def test_a_classifier_that_saw_one_class_is_refused(kind: str, frame: pd.DataFrame, tmp_path: Path) -> None:
    model: Any = {
        "sklearn": DecisionTreeClassifier(),
        "xgboost": xgboost.XGBClassifier(n_estimators=2),
        "lightgbm": lightgbm.LGBMClassifier(n_estimators=2, verbose=-1),
    }[kind]
    model.fit(frame, np.zeros(len(frame), dtype=int))
    with pytest.raises(models.ModelError, match="learnt one class only, 0"):
        models.save(tmp_path, model, frame, outputs=OUTPUTS)
    with pytest.raises(models.ModelError, match="learnt one class only, 0"):
        models.save(tmp_path, DummyClassifier().fit(frame, np.zeros(len(frame), dtype=int)), frame, outputs=OUTPUTS)


def test_functions_of_the_project_go_with_the_model(
    frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "shop_features.py").write_text("def squared(rows):\n    return rows * rows\n")
    monkeypatch.syspath_prepend(str(project))
    import shop_features  # type: ignore[import-not-found]

    model = make_pipeline(FunctionTransformer(shop_features.squared), LinearRegression()).fit(frame, label(frame))
    models.save(tmp_path / "saved", model, frame, outputs=OUTPUTS)
    # Elsewhere the project's module is another one, or none.
    other = ModuleType("shop_features")
    monkeypatch.setitem(sys.modules, "shop_features", other)
    assert np.allclose(served(tmp_path / "saved", frame), model.predict(frame), atol=1e-9)


def test_a_frame_in_another_order_is_put_in_the_model_s(frame: pd.DataFrame, tmp_path: Path) -> None:
    own = frame[sorted(frame)]
    model = LogisticRegression(max_iter=1000).fit(own, label(frame))
    models.save(tmp_path, model, frame, outputs=OUTPUTS)
    assert np.allclose(served(tmp_path, frame), model.predict_proba(own)[:, 1], atol=1e-12)


def test_categories_that_xgboost_has_cut_are_refused(frame: pd.DataFrame, tmp_path: Path) -> None:
    for towns in (["Bergen", "Oslo", "Ålesund"], ["Oslo", "日本"]):
        own = frame.assign(town=pd.Categorical(np.resize(towns, len(frame)), categories=towns))
        data = xgboost.DMatrix(own, label(own), enable_categorical=True)
        booster = xgboost.train({"objective": "binary:logistic"}, data, 3)
        booster.save_model(tmp_path / "model.ubj")
        with pytest.raises(models.ModelError, match="cut the categories of `town`"):
            left(tmp_path, own, {**INPUTS, "town": "string"})
        with pytest.raises(models.ModelError, match="cut the categories of `town`"):
            models.save(tmp_path / "saved", booster, own)


def test_a_class_of_truths_is_declared_as_its_labels_are_written(frame: pd.DataFrame, tmp_path: Path) -> None:
    model = LogisticRegression(max_iter=1000).fit(frame, label(frame).astype(bool))
    models.save(tmp_path, model, frame, outputs={"late": {"type": "class", "classes": ["true", "false"]}})
    said = predictors.load(tmp_path).predict(pa.Table.from_pandas(frame, preserve_index=False)).column("late")
    assert np.allclose(np.stack(said.to_numpy()), model.predict_proba(frame)[:, ::-1])
