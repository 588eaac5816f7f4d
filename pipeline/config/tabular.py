"""The preset `tabular`: the settings of a network for a table.

They were chosen on ten public tables of 400 to 28,000 rows, and judged on 32 others:
`tests/benchmarks/tables.py` lists both, and docs/benchmarks.md has the result. A change of at most
1 % in the errors of the ten is within the noise of their splits.
"""

from pydantic import JsonValue

from pipeline.config.run_config import Task


def tabular_network(task: Task, n_rows: int) -> dict[str, JsonValue]:
    """Return the parameters of the network for a table of so many training rows.

    Columns of numbers are encoded with the options of `tabular_numbers`.
    """
    return {
        "hidden_layer_sizes": [128, 128],
        "activation": "relu",
        "dropout": 0.1,
        "solver": "adamw",
        "alpha": round(min(1.0, max(0.05, 3000 / max(n_rows, 1))), 3),
        "learning_rate": "cosine",
        "learning_rate_init": 0.002,
        "batch_size": 32
        if n_rows < 300
        else 64
        if n_rows < 4000
        else 128
        if n_rows < 16_000
        else 256,
        "max_iter": 150,
        "early_stopping": True,
        "validation_fraction": 0.15,
        "scoring": "loss",
        "n_iter_no_change": 25,
        "tol": 0.0,
        "n_ensemble": 8 if n_rows < 4000 else 4,
        **({"scale_target": True} if task == "regression" else {}),
    }


def tabular_numbers(n_rows: int) -> dict[str, JsonValue]:
    """Return the options of a column of numbers in a table of so many training rows."""
    return {"scale": "robust", "clip": True, "n_pieces": min(16, max(4, n_rows // 20))}
