"""The section `test` of a run: the rows that the model is judged on."""

from datetime import date, datetime
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from pipeline.config.section import FilePath, Section, Seed


class TestPart(Section):
    """The data that the model is evaluated on and never trained on.

    For generated data it is newly generated points. For stored data it is a share of the rows,
    chosen by each row's hash: equal rows stay together, and a row stays in its part when other
    rows are added.
    """

    _newer = frozenset({"by", "time", "after", "path"})

    points: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    share: Annotated[float, Field(gt=0, lt=1)] | None = None
    seed: Seed = 1
    stratify: bool = False
    """Whether the test and the validation part get their share of each class's rows, as nearly as
    possible while equal rows stay together. For tables with rare classes, or with many copies of
    few rows. A row with more copies than fit into the part is trained on. Few rows change their
    part when others are added."""
    allow_small: bool = False
    """Whether to accept a test part that lacks a class or has fewer than 30 distinct rows."""
    by: str | None = None
    """Table: column of groups, such as customers. All rows of a group are in one part."""
    time: str | None = None
    """Table: column of dates or numbers. The test part is the latest rows: the share, or those from
    `after` on. Unset, with `after`: the table's only column of dates."""
    after: str | float | int | None = None
    """Table: the first date or number of the test part, such as "2026-01-01"; or the name of a
    column, as in `time`."""
    path: FilePath | None = None
    """Table: a file with the test rows, which has the same columns."""

    @model_validator(mode="before")
    @classmethod
    def _move_column(cls, tree: Any) -> Any:
        """Move the name of a column from `after` to `time`."""
        after = tree.get("after") if isinstance(tree, dict) else None
        if isinstance(after, date):  # TOML has dates
            return {**tree, "after": after.isoformat()}
        if isinstance(after, str) and not _is_date(after) and tree.get("time") is None:
            return {**tree, "time": after, "after": None}
        return tree

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        time = "time" if self.after is None else "after"
        kinds = {
            "by": self.by is not None,
            time: self.time is not None or self.after is not None,
            "path": self.path is not None,
        }
        used = [name for name, is_used in kinds.items() if is_used]
        if len(used) > 1:
            raise ValueError(
                f"test: expected one kind of test part, got two: test.{used[0]} and test.{used[1]}"
            )
        if self.stratify and used and used != ["by"]:
            raise ValueError(f"test.stratify: it has no meaning with test.{used[0]}; remove it")
        if self.share is not None and (self.path is not None or self.after is not None):
            key = "path" if self.path is not None else "after"
            raise ValueError(f"test.share: test.{key} decides on the test rows; remove test.share")
        return self


def _is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def test_size_key(data: Any, test: Any) -> str | None:
    """Return the key of `TestPart` that sets the size; None if something else decides on it."""
    if data.get("kind") == "table" and (test.get("path") or test.get("after") is not None):
        after = test.get("after")
        is_column = isinstance(after, str) and not _is_date(after)
        return "share" if is_column and test.get("path") is None else None
    return {"quadrants": "points", "fashion": None}.get(str(data.get("kind")), "share")
