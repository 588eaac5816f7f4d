"""The section `data` of a run, for every kind of data but tables."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from pipeline.config.section import FilePath, Section, Seed
from quadnet.cli.settings import expand_user

FASHION_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where the Debian package dataset-fashion-mnist installs its files."""


class QuadrantsData(Section):
    """Generated points in [-1, 1) x [-1, 1), labelled with their quadrant."""

    kind: Literal["quadrants"]
    placement: Literal["uniform", "centres"] = "uniform"
    """Anywhere in the square, or on the four quadrants' centres in turn."""
    points: Annotated[int, Field(ge=4, le=10_000_000)]
    margin: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Smallest distance of a training point from an axis. Test points may lie nearer."""
    label_noise: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the training points that get the label of another quadrant."""
    draws: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Number of training rows to draw from the points at random, with replacement, as the article's
    loop does. With a batch size of 1 it is the number of updates per epoch. Unset: each point is
    used once per epoch."""
    seed: Seed = 0


class DigitsData(Section):
    """scikit-learn's 1,797 scans of handwritten digits: 8 x 8 pixels, each from 0 to 16."""

    kind: Literal["digits"]


class FashionData(Section):
    """Fashion-MNIST: 60,000 training rows and the official test part of 10,000 rows.

    Each row is a picture of 28 x 28 pixels, from 0 to 1.
    """

    kind: Literal["fashion"]
    folder: FilePath | None = None
    """Folder of the four files, relative to the current directory; ``~`` is the home directory.
    Unset: the folder of the Debian package dataset-fashion-mnist."""

    @property
    def files(self) -> Path:
        """The folder of the files, with ``~`` expanded."""
        return FASHION_FOLDER if self.folder is None else expand_user(Path(self.folder))


class FileData(Section):
    """A user's file: one example per row, columns of numeric features and what to predict."""

    kind: Literal["csv", "parquet"]
    path: FilePath
    """Relative to the current directory; ``~`` is the home directory."""
    label: str | list[str]
    """The column to predict: classes, or with `task = "regression"` numbers. With `task =
    "multilabel"` a list of columns of 0 and 1."""
    features: Annotated[list[str], Field(min_length=1)] | None = None
    """Unset: every column that has a name, except the labels."""
    strip_labels: bool = True
    """Whether spaces around a label are removed."""

    @property
    def file(self) -> Path:
        """The file's path, with ``~`` expanded."""
        return expand_user(Path(self.path))

    @property
    def labels(self) -> list[str]:
        """The columns to predict."""
        return [self.label] if isinstance(self.label, str) else self.label
