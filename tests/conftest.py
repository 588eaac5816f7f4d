"""What several tests start from."""

import pytest

from quadnet.registry import Registry


@pytest.fixture
def registry(tmp_path):
    """Return a registry that does not exist yet."""
    return Registry(tmp_path / "registry")
