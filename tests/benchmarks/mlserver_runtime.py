"""A model for MLServer that computes nothing: it decodes the points, and always answers alike.

`tests.benchmarks.serve` copies this module into the folder of the model. It runs in MLServer's own
environment.
"""

import json
from pathlib import Path

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceResponse


class Constant(MLModel):
    async def load(self):
        answer = json.loads((Path(self.settings.parameters.uri)).read_text())
        outputs = {each["name"]: each for each in answer["outputs"]}
        P = outputs["probabilities"]
        self._probabilities = np.array(P["data"], np.float32).reshape(P["shape"])
        self._labels = outputs["label"]["data"]
        return True

    async def predict(self, payload):
        X = NumpyCodec.decode_input(payload.inputs[0])
        assert len(X) == len(self._labels)
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                NumpyCodec.encode_output("probabilities", self._probabilities),
                StringCodec.encode_output("label", self._labels),
            ],
        )
