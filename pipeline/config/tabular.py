"""The settings of a network for a table, chosen on public tables."""

from pydantic import JsonValue

from pipeline.config.run_config import Task


def tabular_network(task: Task, n_rows: int) -> dict[str, JsonValue]:
    """Return the parameters of the network for a table of so many training rows."""
    del task
    return {
        "hidden_layer_sizes": [64, 64],
        "activation": "silu",
        "learning_rate_init": 0.003,
        "batch_size": 32 if n_rows < 2000 else 256,
        "max_iter": 200,
        "early_stopping": True,
        "scoring": "loss",
        "n_iter_no_change": 20,
    }
