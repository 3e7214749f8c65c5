"""Makes a model folder of what a person has: a pickle, a booster's or a graph's file, a folder of MLflow or of ours.

The rows of a sample are what an author would ask the model about: they give the golden rows, and prove that the folder
answers as the model does. Which column is which must be proven by the model itself, as in `bare`.
"""

from __future__ import annotations

import importlib.util
import pickle
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from tidemill import types
from tidemill.models import bare, predictors
from tidemill.models.authors import author_of
from tidemill.models.folder import SIGNATURE, Column, Signature, complete
from tidemill.models.outputs import ModelError, checked
from tidemill.models.own import categorical, categories_of, check_proven, in_own_order, names_of
from tidemill.models.proof import spread
from tidemill.step import Dataset

PICKLES = (".pkl", ".pickle", ".joblib")
"""Endings of files that Python unpickles: code that runs when it is read."""
BARE = {".txt": "model.txt", ".json": "model.json", ".ubj": "model.ubj", ".onnx": "model.onnx"}
"""Endings of files that their own library opens, and what such a file is called in a folder."""
_ROWS = 2_000


def read_sample(file: Path, inputs: dict[str, str], kept: Path) -> Path:
    """Rows of a CSV or Parquet file as Parquet, with the declared columns, each of its type."""
    table = _read(file, inputs)
    lacking = [name for name in inputs if name not in table.column_names]
    if lacking:
        raise ModelError(
            f"{file.name} lacks {', '.join(lacking)}; it has {', '.join(table.column_names)}. Give rows with every "
            "column that the model declares, by its name"
        )
    twice = [name for name in inputs if table.column_names.count(name) > 1]
    if twice:
        raise ModelError(f"{file.name} has {', '.join(twice)} more than once; each column must have its own name")
    if len(table) == 0:
        raise ModelError(f"{file.name} has no rows; give some that the model was trained on, a few hundred are best")
    columns = {}
    for name, ty in inputs.items():
        try:
            columns[name] = types.fit(table.column(name), ty)
        except (types.UnfitError, pa.ArrowException) as error:
            raise ModelError(f"{file.name}, column `{name}`, which is declared as {ty}: {error}") from None
    pq.write_table(pa.table(columns), kept)
    return kept


def _read(file: Path, inputs: dict[str, str]) -> pa.Table:
    ending = file.suffix.lower()
    if ending == ".parquet":
        try:
            return pq.read_table(file)
        except pa.ArrowException as error:
            raise ModelError(f"{file.name} can't be read as Parquet: {error}") from None
    if ending == ".csv":
        scalars = {name: types.arrow(ty) for name, ty in inputs.items() if types.element(ty) is None}
        how = pa_csv.ConvertOptions(column_types=scalars, strings_can_be_null=True, null_values=[""])
        try:
            return pa_csv.read_csv(file, convert_options=how)
        except pa.ArrowException as error:
            raise ModelError(f"{file.name}: {error}; columns must be of the declared types, or give Parquet") from None
    raise ModelError(f"{file.name} is no sample: give a .csv or a .parquet file")


def wrap_file(given: Path, out: Path, flavor: str, sample: Dataset) -> None:
    """Makes a model folder in `out` of the files in `given`, for a model that declares `flavor` as its runtime."""
    outputs = checked(sample.outputs or {"prediction": "float"})
    sample = Dataset(sample.files, sample.inputs, sample.label, outputs)
    if (given / SIGNATURE).is_file():  # of `tidemill.models.save`: complete, and checked where it is registered
        shutil.copytree(given, out, dirs_exist_ok=True)
        return
    if (given / "MLmodel").is_file():
        shutil.copytree(given, out, dirs_exist_ok=True)
        bare.wrap(out, sample, flavor)
        return
    file = _only(given)
    ending = file.suffix.lower()
    if ending in PICKLES:
        _wrap_object(_unpickled(file), out, flavor, sample)
    elif ending in BARE:
        shutil.copyfile(file, out / BARE[ending])
        bare.wrap(out, sample)
    else:
        raise ModelError(f"{file.name}: {_known()}")


def _only(given: Path) -> Path:
    files = sorted(path for path in given.rglob("*") if path.is_file())
    if len(files) == 1:
        return files[0]
    names = ", ".join(str(file.relative_to(given)) for file in files[:10]) or "nothing"
    raise ModelError(f"the folder has no MLmodel and no {SIGNATURE}, but {names}: {_known()}")


def _known() -> str:
    endings = ", ".join([*PICKLES, *BARE])
    return f"give a file ending in {endings}, or a folder that MLflow or tidemill.models.save made"


def _unpickled(file: Path) -> Any:
    """The object in a pickle. Reading one runs what it says, so it is read here and nowhere else."""
    try:
        # What joblib wrote may have any ending, and it reads plain pickles, too.
        if importlib.util.find_spec("joblib") or file.suffix.lower() == ".joblib":
            import joblib

            return joblib.load(file)
        with file.open("rb") as opened:
            return pickle.load(opened)
    except ModuleNotFoundError as error:
        raise ModelError(
            f"{file.name} needs the module `{error.name}`, which the workers' Python lacks; install it there, put it "
            "into the project, or pickle with cloudpickle.register_pickle_by_value"
        ) from error
    except Exception as error:
        raise ModelError(
            f"{file.name} can't be unpickled: {type(error).__name__}: {error}; it needs the same versions of its "
            "libraries as where it was made"
        ) from error


def _wrap_object(model: Any, out: Path, flavor: str, sample: Dataset) -> None:
    """A model in memory, as `save` takes it, but with text as text: a sample doesn't know all categories."""
    # What declares `runtime: python` is asked by its `predict`, whatever library it is of.
    own = "python" if flavor == "python" and hasattr(model, "predict") else predictors.flavor_of(model)
    outputs = sample.outputs
    predictors.check_order(own, model, outputs)
    names = names_of(own, model)
    declared = list(sample.inputs)
    if own != "python":
        check_proven(names, declared, "the model in the file")
    learnt: dict[str, list[str]] = {}
    if own in ("lightgbm", "xgboost"):
        text = [name for name, ty in sample.inputs.items() if ty == "string"]
        learnt = categories_of(own, model, in_own_order(names, declared), text)
    file = predictors.write(own, model, out)
    columns = [Column(name, ty, learnt.get(name)) for name, ty in sample.inputs.items()]
    signature = Signature(own, file, columns, outputs)
    if own in ("lightgbm", "xgboost"):
        predictors.check_numbers(signature)
    frame = categorical(rows_of(sample), learnt)
    complete(out, signature, author_of(own, model, outputs), frame)


def rows_of(sample: Dataset, most: int = _ROWS) -> Any:
    """Rows from all over a sample as pandas, in the declared order of columns."""
    table = sample.to_arrow(columns=sample.features)
    return types.to_pandas(table.take(pa.array(spread(len(table), most), pa.int64())))
