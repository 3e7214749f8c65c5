import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from tidemill import Dataset, models, types
from tidemill.models import bare, folder, predictors

OUTPUTS = {"late_probability": "float"}


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "carrier": pd.Categorical(rng.choice(["AA", "UA", "WN"], 400)),
            "hour": rng.integers(0, 24, 400),
            "delay": np.where(rng.random(400) < 0.1, np.nan, rng.normal(size=400)),
        }
    )


def label(frame: pd.DataFrame) -> Any:
    return ((frame["hour"] > 12) ^ (frame["carrier"] == "AA")).astype(int)


def trained(flavor: str, frame: pd.DataFrame) -> Any:
    if flavor == "lightgbm":
        return lightgbm.train(
            {"objective": "binary", "verbose": -1, "deterministic": True},
            lightgbm.Dataset(frame, label(frame)),
            num_boost_round=10,
        )
    if flavor == "xgboost":
        xgboost = pytest.importorskip("xgboost")
        rows = xgboost.DMatrix(frame, label(frame), enable_categorical=True)
        return xgboost.train({"objective": "binary:logistic"}, rows, num_boost_round=10)
    if flavor == "sklearn":
        return HistGradientBoostingClassifier(categorical_features="from_dtype").fit(frame, label(frame))
    return Constant(0.25)


class Constant:
    def __init__(self, value: float) -> None:
        self.value = value

    def predict(self, frame: pd.DataFrame) -> Any:
        assert str(frame["carrier"].dtype) == "category"
        return np.full(len(frame), self.value)


def plain(frame: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(frame.astype({"carrier": "str"}), preserve_index=False)


@pytest.mark.parametrize("flavor", ["lightgbm", "xgboost", "sklearn", "python"])
def test_a_saved_model_predicts_what_the_library_does(flavor: str, frame: pd.DataFrame, tmp_path: Path) -> None:
    model = trained(flavor, frame)
    models.save(tmp_path, model, frame, outputs=OUTPUTS)
    got = predictors.load(tmp_path).predict(plain(frame)).column("late_probability").to_numpy()
    expected: dict[str, Callable[[], Any]] = {
        "lightgbm": lambda: model.predict(frame),
        "xgboost": lambda: model.predict(pytest.importorskip("xgboost").DMatrix(frame, enable_categorical=True)),
        "sklearn": lambda: model.predict_proba(frame)[:, 1],
        "python": lambda: np.full(len(frame), 0.25),
    }
    assert np.array_equal(got, np.asarray(expected[flavor](), dtype=np.float64))


def test_golden_rows_have_nulls_and_what_was_predicted(frame: pd.DataFrame, tmp_path: Path) -> None:
    models.save(tmp_path, trained("lightgbm", frame), frame, outputs=OUTPUTS)
    golden = pa.ipc.open_stream((tmp_path / folder.GOLDEN).read_bytes()).read_all()
    assert len(golden) == 64
    assert all(golden.column(name).null_count > 0 for name in frame.columns)
    again = predictors.load(tmp_path).predict(golden)
    assert again.column("late_probability") == golden.column("expected.late_probability")


def test_text_that_was_not_seen_is_null(frame: pd.DataFrame, tmp_path: Path) -> None:
    models.save(tmp_path, trained("lightgbm", frame), frame, outputs=OUTPUTS)
    model = predictors.load(tmp_path)
    rows = plain(frame.head(2))
    unseen = rows.set_column(0, "carrier", pa.array(["ZZ", None]))
    null = rows.set_column(0, "carrier", pa.array([None, None], pa.string()))
    assert model.predict(unseen) == model.predict(null)


def test_a_bare_booster_that_a_step_left_becomes_a_folder(frame: pd.DataFrame, tmp_path: Path) -> None:
    model = trained("lightgbm", frame)
    model.save_model(str(tmp_path / "model.txt"))
    pq.write_table(plain(frame), tmp_path / "rows.parquet")
    inputs = {"carrier": "string", "hour": "int", "delay": "float"}
    bare.wrap(tmp_path, Dataset([tmp_path / "rows.parquet"], inputs, "late", OUTPUTS))
    signature = folder.Signature.read(tmp_path)
    assert signature.columns[0].categories == ["AA", "UA", "WN"]
    assert "signature:" in (tmp_path / "MLmodel").read_text()
    got = predictors.load(tmp_path).predict(plain(frame)).column(0).to_numpy()
    assert np.array_equal(got, model.predict(frame))


def test_an_mlflow_folder_is_read_as_it_is(frame: pd.DataFrame, tmp_path: Path) -> None:
    pytest.importorskip("yaml")  # who has MLflow has it
    model = trained("lightgbm", frame)
    model.save_model(str(tmp_path / "model.lgb"))
    mlmodel = "flavors:\n  lightgbm:\n    data: model.lgb\n    lgb_version: 4.7.0\nsignature:\n  inputs: '[]'\n"
    (tmp_path / "MLmodel").write_text(mlmodel)
    pq.write_table(plain(frame), tmp_path / "rows.parquet")
    inputs = {"carrier": "string", "hour": "int", "delay": "float"}
    bare.wrap(tmp_path, Dataset([tmp_path / "rows.parquet"], inputs, "late", OUTPUTS))
    assert (tmp_path / "MLmodel").read_text() == mlmodel
    assert folder.Signature.read(tmp_path).file == "model.lgb"
    got = predictors.load(tmp_path).predict(plain(frame)).column(0).to_numpy()
    assert np.array_equal(got, model.predict(frame))


def test_a_classifier_in_onnx_gives_its_probabilities(frame: pd.DataFrame, tmp_path: Path) -> None:
    skl2onnx = pytest.importorskip("skl2onnx")
    pytest.importorskip("onnxruntime")
    rows = frame[["hour", "delay"]].fillna(0.0).astype(float)
    model = LogisticRegression().fit(rows.to_numpy(), label(frame))
    for zipmap in (False, True):
        graph = skl2onnx.to_onnx(model, rows.to_numpy(np.float32)[:1], options={"zipmap": zipmap})
        out = tmp_path / str(zipmap)
        models.save(out, graph, rows, outputs=OUTPUTS)
        got = predictors.load(out).predict(pa.Table.from_pandas(rows, preserve_index=False)).column(0).to_numpy()
        assert np.allclose(got, model.predict_proba(rows.to_numpy())[:, 1], atol=1e-5)


def test_probabilities_of_classes_are_outputs_by_name(frame: pd.DataFrame, tmp_path: Path) -> None:
    rows = frame[["hour", "delay"]].fillna(0.0)
    model = LogisticRegression().fit(rows, (rows["hour"] // 8).astype(int))
    models.save(tmp_path, model, rows, outputs={"night": "float", "day": "float", "evening": "float"})
    got = predictors.load(tmp_path).predict(pa.Table.from_pandas(rows, preserve_index=False))
    assert got.column_names == ["night", "day", "evening"]
    assert np.array_equal(got.to_pandas().to_numpy(), model.predict_proba(rows))


def test_what_is_not_supported_yet_says_so(frame: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(models.ModelError, match="flavor `torch` is not supported yet"):
        models.save(tmp_path, Constant(0.5), frame, flavor="torch")


def test_mlflow_can_ask_a_folder_without_a_flavor_of_its_own(frame: pd.DataFrame, tmp_path: Path) -> None:
    models.save(tmp_path, Constant(0.25), frame, outputs=OUTPUTS)
    assert "loader_module: tidemill.models" in (tmp_path / "MLmodel").read_text()
    served = models._load_pyfunc(str(tmp_path))
    assert list(served.predict(frame.head(2))["late_probability"]) == [0.25, 0.25]


def test_a_folder_without_a_signature_is_refused(tmp_path: Path) -> None:
    with pytest.raises(models.ModelError, match=r"write it with tidemill\.models\.save"):
        predictors.load(tmp_path)


def test_a_model_of_the_authors_own_class_loads_without_the_project(frame: pd.DataFrame, tmp_path: Path) -> None:
    models.save(tmp_path, Constant(0.5), frame)
    code = "import sys, pathlib; from tidemill.models import predictors; predictors.load(pathlib.Path(sys.argv[1]))"
    source = str(Path(models.__file__).parents[2])
    subprocess.run([sys.executable, "-c", code, tmp_path], env={"PYTHONPATH": source}, cwd="/", check=True)


class Norm:
    """The length of an embedding, and nothing where there is none."""

    def predict(self, frame: pd.DataFrame) -> Any:
        return [0.0 if place is None else float(np.linalg.norm(place)) for place in frame["place"]]


PLACES = pa.table(
    {
        "hour": pa.array([1, 2, 3]),
        "place": pa.array([[3.0, 4.0], [0.0, 1.0], [6.0, 8.0]], pa.list_(pa.float64(), 2)),
    }
)


def test_an_embedding_is_an_array_in_the_frame_of_a_model(tmp_path: Path) -> None:
    models.save(tmp_path, Norm(), PLACES, outputs=OUTPUTS)
    assert [column.type for column in folder.Signature.read(tmp_path).columns] == ["int", "float[2]"]
    assert '"items": {"type": "double"}' in (tmp_path / "MLmodel").read_text()
    assert predictors.load(tmp_path).predict(PLACES).column(0).to_pylist() == [5.0, 1.0, 10.0]
    # A frame of one's own knows no length.
    models.save(tmp_path, Norm(), types.to_pandas(PLACES), outputs=OUTPUTS)
    assert folder.Signature.read(tmp_path).columns[1].type == "float[]"


@pytest.mark.parametrize("named", [False, True])
def test_an_embedding_is_columns_of_the_matrix_of_a_graph_or_a_tensor_of_its_name(named: bool, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    tensor = helper.make_tensor_value_info
    rows, score = PLACES, [tensor("late_probability", floats, [None, 1])]
    if named:
        given = [tensor("place", floats, [None, 2]), tensor("hour", floats, [None, 1])]
        nodes = [
            helper.make_node("ReduceSum", ["place", "axes"], ["sum"], keepdims=1),
            helper.make_node("Add", ["sum", "hour"], ["late_probability"]),
        ]
    else:
        given = [tensor("rows", floats, [None, 3])]
        nodes = [helper.make_node("ReduceSum", ["rows", "axes"], ["late_probability"], keepdims=1)]
    axes = helper.make_tensor("axes", onnx.TensorProto.INT64, [1], [1])
    graph = helper.make_graph(nodes, "sum", given, score, initializer=[axes])
    graph = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    models.save(tmp_path, graph, rows, outputs=OUTPUTS)
    assert predictors.load(tmp_path).predict(rows).column(0).to_pylist() == [8.0, 3.0, 17.0]
    with pytest.raises(models.ModelError, match="a graph takes lists of one length"):
        models.save(tmp_path, graph, types.to_pandas(rows), outputs=OUTPUTS)


def test_trees_take_no_lists() -> None:
    signature = folder.Signature("lightgbm", "model.txt", [folder.Column("place", "float[2]")], {"p": "float"})
    with pytest.raises(models.ModelError, match=r"`place` is a float\[2\]: flavor lightgbm takes numbers and text"):
        predictors.check_numbers(signature)
