"""The Python client: arrays in, arrays out, with retries, deadlines and typed errors.

Imports wire, net and the messages of both protocols; commands and users import it. Start at
`quadrant_client`; `server_client` has the connection.
"""

from service.client.quadrant_client import QuadrantClient

__all__ = ["QuadrantClient"]
