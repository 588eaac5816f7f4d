"""What stands around every method: policies, limits, errors, the thread for long computations.

Imports net, telemetry and wire; both APIs import it, and it knows neither. Start at `handlers`.
"""
