"""Evaluation of a trained network: metrics, the gate, and the comparison with the champion.

Imports `pipeline.data` and `pipeline.training`; publishing, the report and the search import it.
Start at `candidate_evaluation`; `run_checks` comes before training.
"""
