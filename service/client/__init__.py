"""The Python client: arrays in, arrays out, with retries, deadlines and typed errors.

Imports wire, net and the messages of quadrant.v1; commands and users import it. Start at `client`.
"""

from service.client.client import QuadrantClient

__all__ = ["QuadrantClient"]
