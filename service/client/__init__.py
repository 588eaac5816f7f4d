"""The Python clients: rows in, answers out, with retries, deadlines and typed errors.

Imports wire, net and the messages of both protocols; commands and users import it. Start at
`model_client`, for any model, or `quadrant_client`; both share the connection of `server_client`.
"""

from service.client.model_client import ModelClient
from service.client.quadrant_client import QuadrantClient

__all__ = ["ModelClient", "QuadrantClient"]
