"""Make the golden values of layers: outputs and gradients that PyTorch computes.

    python tests/golden/make_pytorch.py

in an environment with PyTorch and NumPy writes tests/golden/pytorch/layers.json. PyTorch is too
large to be a dependency of the tests.
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

ROWS, SHAPE = 2, (2, 5, 4)

torch.set_default_dtype(torch.float64)


class Residual(nn.Sequential):
    """Adds the input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the sum of the input and the output of the layers."""
        return x + super().forward(x)


def convolution(filters: int, kernel: object, stride: object = 1, padding: object = 0) -> nn.Module:
    """Return a convolution of the two channels of the input."""
    return nn.Conv2d(2, filters, kernel, stride, padding)


# The layer as Quadnet's spec, and as PyTorch's.
LAYERS = [
    ({"kind": "conv2d", "filters": 3, "kernel": 3}, convolution(3, 3)),
    ({"kind": "conv2d", "filters": 2, "kernel": [1, 3], "stride": [2, 1]},
     convolution(2, (1, 3), (2, 1))),
    ({"kind": "conv2d", "filters": 3, "kernel": 3, "padding": "same"},
     convolution(3, 3, 1, "same")),
    ({"kind": "conv2d", "filters": 2, "kernel": [4, 2], "padding": "same"},
     convolution(2, (4, 2), 1, "same")),
    ({"kind": "conv2d", "filters": 4, "kernel": 2, "stride": 2}, convolution(4, 2, 2)),
    ({"kind": "max_pool2d", "size": 2}, nn.MaxPool2d(2)),
    ({"kind": "max_pool2d", "size": 3, "stride": 1}, nn.MaxPool2d(3, 1)),
    ({"kind": "max_pool2d", "size": [2, 3], "stride": [1, 2]}, nn.MaxPool2d((2, 3), (1, 2))),
    ({"kind": "average_pool2d", "size": 2}, nn.AvgPool2d(2)),
    ({"kind": "average_pool2d", "size": [3, 2], "stride": [2, 1]}, nn.AvgPool2d((3, 2), (2, 1))),
    ({"kind": "global_average_pool2d"}, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())),
    ({"kind": "batch_norm", "momentum": 0.2, "epsilon": 1e-3},
     nn.BatchNorm2d(2, momentum=0.2, eps=1e-3)),
    ({"kind": "layer_norm"}, nn.LayerNorm(SHAPE)),
    ({"kind": "residual", "layers": [
        {"kind": "conv2d", "filters": 2, "kernel": 3, "padding": "same"},
        {"kind": "activation", "function": "relu"}]},
     Residual(convolution(2, 3, 1, "same"), nn.ReLU())),
    ({"kind": "flatten"}, nn.Flatten()),
    *(({"kind": "activation", "function": name}, function) for name, function in (
        ("relu", nn.ReLU()), ("tanh", nn.Tanh()), ("logistic", nn.Sigmoid()), ("silu", nn.SiLU()),
        ("elu", nn.ELU()), ("leaky_relu", nn.LeakyReLU()), ("softplus", nn.Softplus(threshold=1e9)),
        ("gelu", nn.GELU(approximate="tanh")))),
]  # fmt: skip


def record(spec: dict[str, object], layer: nn.Module, seed: int) -> dict[str, object]:
    """Return what the layer computes in one step of training, forward and backward."""
    rng = np.random.default_rng(seed)
    x = torch.tensor(rng.normal(size=(ROWS, *SHAPE)), requires_grad=True)
    parameters = list(layer.parameters())
    with torch.no_grad():
        for parameter in parameters:
            parameter.copy_(torch.tensor(rng.normal(size=tuple(parameter.shape))))
    layer.train()
    before = [parameter.detach().clone() for parameter in parameters]
    y = layer(x)
    weights = torch.tensor(rng.normal(size=tuple(y.shape)))
    (y * weights).sum().backward()
    statistics = [
        getattr(layer, name).tolist()
        for name in ("running_mean", "running_var")
        if hasattr(layer, name)
    ]
    return {
        "spec": spec,
        "parameters": [array.flatten().tolist() for array in before],
        "input": x.detach().tolist(),
        "output": y.detach().tolist(),
        "output_gradient": weights.tolist(),
        "input_gradient": x.grad.tolist(),
        "parameter_gradients": [parameter.grad.flatten().tolist() for parameter in parameters],
        "running_statistics": statistics,
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    values = {
        "pytorch": torch.__version__.partition("+")[0],
        "layers": [record(spec, layer, seed) for seed, (spec, layer) in enumerate(LAYERS)],
    }
    path = Path(__file__).parent / "pytorch" / "layers.json"
    path.write_text(json.dumps(values, separators=(",", ":")) + "\n")
    print(f"Made {path.name}, {path.stat().st_size:,} bytes.")
