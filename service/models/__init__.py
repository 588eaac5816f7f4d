"""The served models: loaded from the registry, kept up to date, and listed.

Imports `quadnet.registry` and telemetry; both APIs and the server import it. Start at
`live_models`.
"""
