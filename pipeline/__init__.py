"""The training pipeline: data, fit, evaluation, gate, publication; and search and scoring.

Imports the library, never the service. A run is followed in this order: `config`, `data`,
`training`, `evaluation`, `report`, `publishing`. Start at `commands.train`.
"""
