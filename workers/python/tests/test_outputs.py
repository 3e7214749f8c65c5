import datetime as dt
import json
import re
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from tidemill import models
from tidemill.models import folder, predictors
from tidemill.models.outputs import ModelError, as_outputs, checked

SPECIES = ["setosa", "versicolor", "virginica"]
CLASS: dict[str, Any] = {"species": {"type": "class", "classes": SPECIES}}
PLACE: dict[str, Any] = {"place": {"type": "vector", "size": 2}}


@pytest.fixture
def iris() -> tuple[pd.DataFrame, Any]:
    frame, numbers = load_iris(return_X_y=True, as_frame=True)
    frame.columns = [str(name).removesuffix(" (cm)").replace(" ", "_") for name in frame.columns]
    return frame, np.array(SPECIES)[numbers]


def predicted(out: Path, frame: pd.DataFrame) -> pa.Table:
    return predictors.load(out).predict(pa.Table.from_pandas(frame, preserve_index=False))


def rows_of(table: pa.Table, name: str) -> Any:
    return np.array(table.column(name).to_pylist())


def test_a_class_has_the_probabilities_that_the_library_gives(iris: Any, tmp_path: Path) -> None:
    frame, species = iris
    model = LogisticRegression(max_iter=1000).fit(frame, species)
    models.save(tmp_path, model, frame, outputs=CLASS)
    assert np.allclose(rows_of(predicted(tmp_path, frame), "species"), model.predict_proba(frame), atol=1e-12)
    told = json.loads((tmp_path / folder.SIGNATURE).read_text())
    assert told["outputs"] == CLASS
    assert '"type": "array"' in (tmp_path / "MLmodel").read_text()
    golden = pa.ipc.open_stream((tmp_path / folder.GOLDEN).read_bytes()).read_all()
    assert golden.column("expected.species").type == pa.list_(pa.float64(), 3)


def test_the_declared_order_is_the_order(iris: Any, tmp_path: Path) -> None:
    frame, species = iris
    model = LogisticRegression(max_iter=1000).fit(frame, species)
    models.save(tmp_path, model, frame, outputs={"species": {"type": "class", "classes": SPECIES[::-1]}})
    got = rows_of(predicted(tmp_path, frame), "species")
    assert np.allclose(got, model.predict_proba(frame)[:, ::-1], atol=1e-12)
    with pytest.raises(
        models.ModelError, match="classes are setosa, versicolor, virginica; the declared classes are a, b, c"
    ):
        models.save(tmp_path, model, frame, outputs={"species": {"type": "class", "classes": ["a", "b", "c"]}})


def test_a_booster_s_classes_are_in_the_order_it_learnt_them_in(iris: Any, tmp_path: Path) -> None:
    frame, species = iris
    model = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(frame, species)
    models.save(tmp_path, model, frame, outputs=CLASS)
    assert np.array_equal(rows_of(predicted(tmp_path, frame), "species"), model.predict_proba(frame))
    with pytest.raises(
        models.ModelError, match="in the order setosa, versicolor, virginica: declare them in this order"
    ):
        models.save(tmp_path, model, frame, outputs={"species": {"type": "class", "classes": SPECIES[::-1]}})


def test_a_booster_of_two_classes_gives_the_second_s_probability(iris: Any, tmp_path: Path) -> None:
    frame, species = iris
    booster = lightgbm.train({"objective": "binary", "verbose": -1}, lightgbm.Dataset(frame, species == "setosa"), 5)
    models.save(tmp_path, booster, frame, outputs={"it": {"type": "class", "classes": ["other", "setosa"]}})
    yes = booster.predict(frame)
    assert np.array_equal(rows_of(predicted(tmp_path, frame), "it"), np.column_stack([1 - yes, yes]))


def test_a_vector_is_what_a_transformer_gives(iris: Any, tmp_path: Path) -> None:
    frame, _ = iris
    model = PCA(2).fit(frame)
    models.save(tmp_path, model, frame, outputs=PLACE)
    assert np.allclose(rows_of(predicted(tmp_path, frame), "place"), model.transform(frame))
    # It takes no nulls, so its golden rows are whole.
    golden = pa.ipc.open_stream((tmp_path / folder.GOLDEN).read_bytes()).read_all()
    assert len(golden) == 64
    assert not any(golden.column(name).null_count for name in frame.columns)


def test_several_outputs_share_an_array_or_have_names() -> None:
    outputs = {"score": "float", **CLASS, **PLACE}
    array = np.array([[7.0, 0.2, 0.3, 0.5, 1.0, 2.0]])
    expected = {"score": [7.0], "species": [[0.2, 0.3, 0.5]], "place": [[1.0, 2.0]]}
    assert as_outputs(array, outputs, 1).to_pydict() == expected
    named = {"score": [7.0], "species": [[0.2, 0.3, 0.5]], "place": np.array([[1.0, 2.0]])}
    assert as_outputs(named, outputs, 1).to_pydict() == expected
    assert as_outputs(pd.DataFrame({name: list(values) for name, values in named.items()}), outputs, 1).to_pydict() == (
        expected
    )


@pytest.mark.parametrize(
    ("raw", "outputs", "told"),
    [
        ([[0.5, 0.5]], CLASS, r"the model gives 2 columns; the declared outputs are species \(3\)"),
        ([[0.5, 0.5, 0.4]], CLASS, "`species`, row 0: its probabilities add up to 1.4, not to 1"),
        ([[0.5, 0.7, -0.2]], CLASS, "`species`, row 0: -0.2 is not a probability"),
        ([[0.5, np.nan, 0.5]], CLASS, "`species`, row 0: nan is not a probability"),
        ({"species": [[0.5, 0.5]]}, CLASS, "`species`: expected 1 x 3 probabilities, one for each class, got 1 x 2"),
        ({"species": ["setosa"]}, CLASS, "`species`: expected 1 x 3 floats, got values of another type or shape"),
        ({"species": [None]}, CLASS, "`species`: expected 1 x 3 probabilities, one for each class, got 1"),
        ([[1.0, np.inf]], PLACE, "`place`, row 0: inf is not finite"),
        ({"place": [[1.0]]}, PLACE, "`place`: expected 1 x 2 floats, got 1 x 1"),
    ],
)
def test_what_breaks_the_declaration_is_told(raw: Any, outputs: dict[str, Any], told: str) -> None:
    with pytest.raises(models.ModelError, match=told):
        as_outputs(raw, outputs, 1)


def test_rounding_is_forgiven() -> None:
    row = as_outputs([[1.0000005, -0.0000005, 0.0]], CLASS, 1).to_pydict()["species"][0]
    assert row == [1.0, 0.0, 0.0]
    rounded = as_outputs([[0.333, 0.333, 0.333]], CLASS, 1)
    assert rounded.num_rows == 1


@pytest.mark.parametrize(
    "output",
    ["class", {"type": "class"}, {"type": "class", "classes": ["a"]}, {"type": "vector", "size": 0}, {"type": "map"}],
)
def test_a_declaration_that_is_none_is_refused(output: Any) -> None:
    with pytest.raises(models.ModelError, match="output `x` is declared as"):
        checked({"x": output})
    assert checked({"x": {"type": "float"}}) == {"x": "float"}


@pytest.mark.parametrize("said", [["0.5", "0.25"], [0.5, "late"], [0.5, b"1"], [0.5, [1.0]]])
def test_text_is_no_number_even_where_it_looks_like_one(said: list[Any]) -> None:
    with pytest.raises(ModelError, match=r"output `p`, row \d: .* is not a number"):
        as_outputs({"p": pd.Series(said, dtype=object)}, {"p": "float"}, 2)


def test_numbers_of_any_kind_are_floats_and_none_is_nan() -> None:
    said = {"p": pd.Series([1, np.float32(0.5), None], dtype=object)}
    assert str(as_outputs(said, {"p": "float"}, 3)["p"].to_pylist()) == "[1.0, 0.5, nan]"


def test_an_output_is_not_taken_for_one_of_another_kind() -> None:
    moment = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
    for given in (np.array(["2024-05-01"], "datetime64[ns]"), [moment], pa.chunked_array([pa.array([moment])])):
        assert as_outputs({"at": given}, {"at": "timestamp"}, 1).to_pydict() == {"at": [moment]}
    cases: list[tuple[Any, str, str]] = [
        (np.array([1714521600]), "timestamp", "output `v`: expected timestamp: a datetime, got 1714521600"),
        (pa.chunked_array([[1]]), "timestamp", "output `v`: expected timestamp: a datetime, got int64"),
        ([1.5], "int", "output `v`: expected int, got 1.5"),
        (["a\0"], "string", "output `v`: expected string: text without a NUL character, got 'a\\x00'"),
    ]
    for given, ty, message in cases:
        with pytest.raises(ModelError, match=re.escape(message)):
            as_outputs({"v": given}, {"v": ty}, 1)
