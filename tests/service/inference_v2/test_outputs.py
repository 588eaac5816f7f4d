"""Outputs of the Open Inference Protocol: any selection, any order, and the top classes."""

import numpy as np
import pytest

from tests.support.inference_client import Output, classified, outputs, raw, typed


@pytest.mark.parametrize(
    "asked", [["label"], ["probabilities"], ["label", "probabilities"], ["probabilities", "label"]]
)
@pytest.mark.parametrize("ask", [raw, typed])
def test_the_requested_outputs_come_in_the_requested_order(inference, asked, ask):
    request = ask([[0.5, 0.5], [-0.3, 0.8]], outputs=[Output(name=name) for name in asked])
    answered = outputs(inference.ModelInfer(request))
    assert list(answered) == asked
    shapes = {"label": (2,), "probabilities": (2, 4)}
    assert [array.shape for array in answered.values()] == [shapes[name] for name in asked]


@pytest.mark.parametrize("count", [1, 3, 10, 2**40])
@pytest.mark.parametrize("ask", [raw, typed])
def test_class_count_returns_the_most_probable_classes_first(inference, count, ask):
    X = np.random.default_rng(1).normal(size=(3000, 64))
    asked = [Output(name="label"), *classified(int64_param=count)]
    request = ask(X, "FP64", "digits", outputs=asked)
    answered = outputs(inference.ModelInfer(request))
    P = outputs(inference.ModelInfer(ask(X, "FP64", "digits")))["probabilities"]
    expected = [
        [
            f"{row[column]:.6f}:{column}:{column}".encode()
            for column in sorted(range(10), key=lambda column: (-row[column], column))[:count]
        ]
        for row in P.tolist()
    ]
    assert answered["probabilities"].tolist() == expected
    assert [row[0].rpartition(b":")[2] for row in expected] == answered["label"].tolist()


def test_equally_probable_classes_come_in_the_order_of_the_classes(inference):
    response = inference.ModelInfer(raw([[0, 0]], outputs=classified(int64_param=3)))
    assert outputs(response)["probabilities"].tolist() == [
        [b"0.250000:0:I", b"0.250000:1:II", b"0.250000:2:III"]
    ]


def test_class_count_of_a_batch_without_rows_gives_an_empty_output(inference):
    request = raw(np.empty((0, 2)), outputs=classified(int64_param=2))
    answered = outputs(inference.ModelInfer(request))
    assert answered["probabilities"].shape == (0, 2)
