"""The preset `tabular`: the settings of a network for a table.

They were chosen on ten public tables of 400 to 28,000 rows, and judged on 32 others:
`tests/benchmarks/tables.py` lists both, and docs/benchmarks.md has the result. A change of at most
1 % in the errors of the ten is within the noise of their splits.
"""

from pydantic import JsonValue

from quadnet.types import Task


def tabular_network(task: Task, n_rows: int) -> dict[str, JsonValue]:
    """Return the parameters of the network for a table of so many training rows.

    Columns of numbers are encoded with the options of `tabular_numbers`.
    """
    # Epochs of many rows have many updates, and take long: on 21,000 rows 12 are as good as 30.
    is_large = n_rows >= 16_000
    return {
        # 256 units are no better, residual layers are 2 % worse.
        "hidden_layer_sizes": [128, 128],
        # silu and gelu are 2 % worse.
        "activation": "relu",
        # 0.3 is 4 % worse.
        "dropout": 0.1,
        "solver": "adamw",
        # 1.0 is 1 % better than 0.01, and 3.0 is 2 % worse. The decay is per update, and so must be
        # weaker for more rows (Wang and Aitchison, 2024).
        "alpha": round(min(1.0, max(0.05, 3000 / max(n_rows, 1))), 3),
        "learning_rate": "cosine",
        # 0.001 is 2 % worse, 0.005 no better.
        "learning_rate_init": 0.002,
        # Small tables need enough updates: 64 is 1 % better than 128.
        "batch_size": 32 if n_rows < 300 else 64 if n_rows < 4000 else 256 if is_large else 128,
        # 60 epochs to the end of the schedule are 3 % worse. Most networks stop early after 30 to
        # 60, those of targets without much noise after 120.
        "max_iter": 60 if is_large else 150,
        "early_stopping": True,
        "validation_fraction": 0.15,
        # The loss, because accuracies on few held-out rows are coarse.
        "scoring": "loss",
        "n_iter_no_change": 12 if is_large else 25,
        "tol": 0.0,
        # Four networks are 6 % better than one. In `fit` each has other rows to stop by, in a run
        # all have one part. label_smoothing=0.1 gains no accuracy, and its log losses are
        # 10 % higher, so it is 0.
        "n_ensemble": 8 if n_rows < 4000 else 4,
        **({"scale_target": True} if task == "regression" else {}),
    }


def tabular_numbers(n_rows: int) -> dict[str, JsonValue]:
    """Return the options of a column of numbers in a table of so many training rows.

    They are a section `data.columns.NAME` of a run file, and the arguments of `NumberSettings`.
    """
    # Robust with the clip is 2 % better than a standard scale. With 16 pieces the errors are 5 %
    # lower than without, and with 32 they are 3 % lower: networks learn them by heart.
    return {"scale": "robust", "clip": True, "n_pieces": min(16, max(4, n_rows // 20))}
