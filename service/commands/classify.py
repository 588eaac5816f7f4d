"""The verbs `classify` and `health`, which call a server and print its answers."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from quadnet.errors import listing
from service.client import QuadrantClient
from service.client.csv_file import CsvFile, CsvRow, open_csv, parse_number
from service.settings import ClassifySettings, HealthSettings


def classify(settings: ClassifySettings) -> int:
    """Print the quadrant and the certainty of each point."""
    if settings.file is not None:
        batches = _split_into_batches(_read_points(settings.file), settings.points_a_call)
    else:
        pairs = zip(settings.points[::2], settings.points[1::2], strict=True)
        # In one batch, so that an error names the row among all points.
        batches = iter([list(pairs)])
    model, version = settings.model or "", settings.version
    heading = f"{'x':>12} {'y':>12}  quadrant  certainty"
    with QuadrantClient.from_settings(settings) as client:
        for batch in batches:
            answers = client.classify(
                np.reshape(batch, (-1, 2)),
                model=model,
                version=version,
                points_a_call=settings.points_a_call,
            )
            if heading:
                print(f"{heading}  by {answers.model} version {answers.version}")
                heading = ""
            # The version that answered the first batch answers all.
            model, version = answers.model, answers.version
            for (x, y), name, certainty in zip(
                batch, answers.quadrants, answers.certainties, strict=True
            ):
                print(f"{x:>12.6g} {y:>12.6g}  {name:<8}  {certainty:8.2%}")
    return 0


def health(settings: HealthSettings) -> int:
    """Print the health of each service; return 1 unless all are SERVING."""
    with QuadrantClient.from_settings(settings) as client:
        statuses = {name: client.health(name) for name in settings.services}
    for name, status in statuses.items():
        print(f"{name or '(server)'}: {status}")
    return 0 if set(statuses.values()) == {"SERVING"} else 1


def _read_points(path: Path) -> Iterator[tuple[float, float]]:
    """Yield the points of a CSV file with the columns x and y, and possibly others."""
    with open_csv(path) as file:
        if not {"x", "y"} <= set(file.columns):
            raise file.make_error(
                f"expected the columns x and y in its first line, got {listing(file.columns)}"
            )
        at_x, at_y = file.columns.index("x"), file.columns.index("y")
        for row in file.rows:
            yield _parse(file, row, at_x), _parse(file, row, at_y)


def _parse(file: CsvFile, row: CsvRow, at: int) -> float:
    try:
        return parse_number(row.cells[at])
    except ValueError as error:
        raise file.make_error(str(error), line=row.line, column=file.columns[at]) from None


def _split_into_batches(
    points: Iterator[tuple[float, float]], n: int
) -> Iterator[list[tuple[float, float]]]:
    """Yield batches of n points; one empty batch if there are no points."""
    batch = list(islice(points, n))
    yield batch
    while batch := list(islice(points, n)):
        yield batch
