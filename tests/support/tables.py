"""Tables for tests, written as a user's program would write them."""

import csv


def write_table(folder, columns, name="table.csv"):
    """Write columns of equal length to a CSV file, and return its path."""
    path = folder / name
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(columns)
        rows.writerows(zip(*columns.values(), strict=True))
    return path
