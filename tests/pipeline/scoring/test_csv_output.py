"""Scored rows are written in the dialect of their file."""

from contextlib import closing

import numpy as np
import pandas as pd
import pytest

from pipeline.data.files.raw_source import open_rows
from pipeline.data.files.read_settings import ReadSettings
from pipeline.scoring.csv_output import CsvNumberOutput, CsvOutput
from pipeline.scoring.output import AddedColumns, AddedNumbers

DIALECTS = [(";", ","), ("\t", ","), ("|", "."), (",", "."), (",", ",")]
LABELS = ("plain", "a;b", "a,b", "a|b", 'a"b', "a\tb")


def write_rows(path, delimiter, decimal):
    frame = pd.DataFrame({"x": np.arange(6) + 0.5, "text": LABELS[::-1]})
    frame.to_csv(path, sep=delimiter, decimal=decimal, index=False)
    return frame


def read_scored(content, path, delimiter, decimal):
    path.write_bytes(content)
    return pd.read_csv(path, sep=delimiter, decimal=decimal)


@pytest.mark.parametrize(("delimiter", "decimal"), DIALECTS)
def test_rows_are_written_in_the_dialect_of_their_file(tmp_path, delimiter, decimal):
    path = tmp_path / "rows.csv"
    frame = write_rows(path, delimiter, decimal)
    P = np.array([0.5, 0.25, 1.0, 0.125, 0.999999, np.nan])
    values = np.column_stack([np.append(2.5e-7, P[1:]), np.arange(6.0)])
    added = ("label;", "certainty,", "version")
    with closing(open_rows(path, ReadSettings(), chunk_bytes=2**20)) as source:
        (chunk,) = source.chunks(["x"])
        output = CsvOutput(source, AddedColumns(added, LABELS, 7))
        scored = output.begin() + output.encode(chunk.rows, np.array([0, 1, 2, 3, 4, -1]), P)
        numbers = CsvNumberOutput(source, AddedNumbers(added, frozenset([1]), 7))
        predicted = numbers.begin() + numbers.encode(chunk.rows, values, np.isfinite(P))
    if delimiter == ",":
        decimal_of_added = "."
        frame["x"] = (
            frame["x"] if decimal == "." else frame["x"].map(lambda x: f"{x}".replace(".", ","))
        )
    else:
        decimal_of_added = decimal
    found = read_scored(scored, path, delimiter, decimal_of_added)
    expected = frame.assign(**dict(zip(added, [[*LABELS[:5], None], P, 7], strict=True)))
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)
    found = read_scored(predicted, path, delimiter, decimal_of_added)
    values[5] = np.nan
    expected = frame.assign(**dict(zip(added, [values[:, 0], values[:, 1], 7], strict=True)))
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)
