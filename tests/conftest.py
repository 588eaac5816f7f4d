"""What several tests start from.

What needs gRPC is imported where it is needed: most tests do not.
"""

import pytest

from quadnet.registry import Registry


@pytest.fixture
def registry(tmp_path):
    """Return a registry that does not exist yet."""
    return Registry(tmp_path / "registry")


@pytest.fixture(scope="session")
def inference_models(tmp_path_factory):
    """Publish models of several shapes; return the registry, and each model's predictor."""
    from tests.inference import publish_models

    registry = Registry(tmp_path_factory.mktemp("inference") / "registry")
    return registry, publish_models(registry)


@pytest.fixture(scope="session")
def inference_server(inference_models):
    """Return a server of these models, which no test may change."""
    from tests.inference import MAX_ROWS
    from tests.serving import ServerProcess

    registry, _ = inference_models
    with ServerProcess(registry.root, "--max-points", str(MAX_ROWS)) as process:
        yield process


@pytest.fixture(scope="session")
def inference(inference_server):
    """Return the methods of that server's `inference.GRPCInferenceService`."""
    from tests.inference import InferenceStub

    return InferenceStub(inference_server.channel)
