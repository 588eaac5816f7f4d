"""What surrounds every method: policies, limits, errors, and the thread for long computations.

Imports net, telemetry and wire. Both APIs import it, and it imports neither. Start at `handlers`.
"""
