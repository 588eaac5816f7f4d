"""The article's two update rules, restated literally: slow, sample by sample, without arrays.

This is the independent side of `test_article`. It uses no code of Quadnet and no vectors, so that
each line can be compared with the article.
"""

from dataclasses import dataclass
from math import exp
from operator import mul
from random import Random

CENTRES = [(0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5), (0.5, -0.5)]


def sigmoid(z):
    return 1 / (1 + exp(-z)) if z > -700 else 0.0


def quadrant(x, y):
    """Return 0 to 3 for the quadrants I to IV."""
    return {(True, True): 0, (False, True): 1, (False, False): 2, (True, False): 3}[x > 0, y > 0]


def encode(target):
    return [1.0 if k == target else 0.0 for k in range(4)]


def decode(outputs):
    return max(range(4), key=outputs.__getitem__)


class Network1:
    """Network 1, 2 -> 4: its bias step lacks the sigmoid's derivative."""

    def __init__(self, seed, *, biases=True):
        self.random = Random(seed)
        self.biases = biases
        self.w = [[self.random.random() for _ in range(2)] for _ in range(4)]
        self.b = [0.0] * 4

    def outputs(self, x):
        return [sigmoid(self.w[i][0] * x[0] + self.w[i][1] * x[1] + self.b[i]) for i in range(4)]

    def train(self, updates, learning_rate):
        for _ in range(updates):
            x = self.random.choice(CENTRES)
            target = encode(quadrant(*x))
            o = self.outputs(x)
            for i in range(4):
                e = target[i] - o[i]
                for j in range(2):
                    self.w[i][j] += learning_rate * e * o[i] * (1 - o[i]) * x[j]
                if self.biases:
                    self.b[i] += learning_rate * e


@dataclass(frozen=True)
class Faults:
    """The faults of network 2's back-propagation, each of which can be switched off."""

    raw_output_bias: bool = True
    """The output bias moves by the raw error, without the output's sigmoid derivative."""
    raw_hidden_error: bool = True
    """The hidden error sums raw errors, without the outputs' sigmoid derivatives."""
    updated_weights: bool = True
    """The hidden error uses output weights that the same update has already changed."""
    repeated_bias: bool = True
    """The output bias step is in the inner loop: applied once for each hidden neuron."""
    hidden_bias_alike: bool = False
    """The hidden bias has the same step as the output bias: its layer's raw error, in the inner
    loop. The article does not describe this, but it reproduces the article's accuracy."""


DESCRIBED = Faults()
MEASURED = Faults(hidden_bias_alike=True)
NONE = Faults(
    raw_output_bias=False, raw_hidden_error=False, updated_weights=False, repeated_bias=False
)


class Network2:
    """Network 2, 2 -> hidden -> 4, with the given faults."""

    def __init__(self, seed, *, hidden=6, faults, biases=True):
        self.random = Random(seed)
        self.units, self.faults, self.biases = range(hidden), faults, biases
        weight = lambda: self.random.uniform(-1, 1)  # noqa: E731
        self.w = [[weight() for _ in range(2)] for _ in range(hidden)]
        self.b = [0.0] * hidden
        self.v = [[weight() for _ in range(hidden)] for _ in range(4)]
        self.c = [0.0] * 4

    def hidden_outputs(self, x):
        return [sigmoid(self.w[j][0] * x[0] + self.w[j][1] * x[1] + self.b[j]) for j in self.units]

    def outputs(self, x, h=None):
        h = h or self.hidden_outputs(x)
        return [sigmoid(sum(map(mul, self.v[k], h)) + self.c[k]) for k in range(4)]

    def update(self, x, target, learning_rate):
        faults = self.faults
        h = self.hidden_outputs(x)
        o = self.outputs(x, h)
        error = [target[k] - o[k] for k in range(4)]
        delta = [error[k] * o[k] * (1 - o[k]) for k in range(4)]
        before = self.v if faults.updated_weights else [row[:] for row in self.v]
        for k in range(4):
            bias_step = learning_rate * (error[k] if faults.raw_output_bias else delta[k])
            for j in self.units:
                self.v[k][j] += learning_rate * delta[k] * h[j]
                if faults.repeated_bias and self.biases:
                    self.c[k] += bias_step
            if not faults.repeated_bias and self.biases:
                self.c[k] += bias_step
        passed_back = error if faults.raw_hidden_error else delta
        for j in self.units:
            hidden_error = sum(before[k][j] * passed_back[k] for k in range(4))
            hidden_delta = hidden_error * h[j] * (1 - h[j])
            for i in range(2):
                self.w[j][i] += learning_rate * hidden_delta * x[i]
                if faults.hidden_bias_alike and self.biases:
                    self.b[j] += learning_rate * hidden_error
            if not faults.hidden_bias_alike and self.biases:
                self.b[j] += learning_rate * hidden_delta

    def train(self, updates, learning_rate, points):
        for _ in range(updates):
            x = self.random.choice(points)
            self.update(x, encode(quadrant(*x)), learning_rate)


def random_points(seed, n):
    random = Random(seed)
    return [(random.uniform(-1, 1), random.uniform(-1, 1)) for _ in range(n)]


def accuracy(network, points):
    return sum(decode(network.outputs(x)) == quadrant(*x) for x in points) / len(points)


def network_1_accuracy(seed, *, biases=True):
    """Train network 1 as in the article, and return its accuracy on a hold-out."""
    network = Network1(seed, biases=biases)
    network.train(10_000, 0.1)
    return accuracy(network, HELD_OUT)


def network_2_accuracy(seed, updates, *, faults, biases=True):
    """Train network 2 on 1,000 random points, and return its accuracy on a hold-out."""
    network = Network2(seed, faults=faults, biases=biases)
    network.train(updates, 0.1, random_points(1000 + seed, 1000))
    return accuracy(network, HELD_OUT)


HELD_OUT = random_points(1_000_000, 5000)
