"""The models that answer: loaded from the registry, followed, swapped, listed.

Imports `quadnet.registry` and telemetry; both APIs and the server import it. Start at
`live_models`.
"""
