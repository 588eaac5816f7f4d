"""Which rows the ranges are of that a version records."""

from quadnet.registry.manifest import Record


def ranges_of(record: Record) -> str:
    """Return the name of the rows: training, or the test rows where training's are unknown."""
    return "training" if record.data.train.rows else "the test rows"


def describe_outside(record: Record) -> str:
    """Return the beginning of a sentence on inputs outside these rows."""
    rows = ranges_of(record)
    where = "the training range" if rows == "training" else f"the range of {rows}"
    return f"Outside {where} a prediction is a guess"
