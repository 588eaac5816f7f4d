"""The inference protocol's methods in this process, without a server and without a transport."""

import asyncio
import time

import numpy as np

from service.inference_v2.json_bodies import decode_body
from service.inference_v2.methods import InferenceMethods
from service.models.live_models import LiveModels
from service.rpc.call import Call
from service.rpc.compute_thread import ComputeThread
from service.settings import ServeSettings


class InProcessInference:
    """The methods over a registry.

    Parameters
    ----------
    registry : Registry
    model : str
        The default model.
    """

    def __init__(self, registry, model, **settings):
        self.live = LiveModels(registry, model=model)
        self.live.refresh()
        self.methods = InferenceMethods(
            self.live, ComputeThread(), ServeSettings(**settings), lambda: True
        )

    def call(self, method, *arguments, **options):
        """Return the answer of a method of `InferenceMethods`."""

        async def run():
            call = Call("test", None, {}, "test")
            with np.errstate(all="ignore"):
                return await getattr(self.methods, method)(*arguments, call=call, **options)

        return asyncio.run(run())

    def infer(self, request, encoding):
        """Return the encoded answer to a request."""
        return self.call("infer", request, encoding, began=time.perf_counter_ns())

    def infer_body(self, content, header_length=None, *, model="", version=""):
        """Return the body and the length of the JSON that answer a REST body."""
        request, encoding = decode_body(content, header_length, model=model, version=version)
        return self.infer(request, encoding)
