"""What a trained network is worth: its metrics, the gate, the comparison with the champion.

Imports `pipeline.data` and `pipeline.training`; publishing, the report and the search import it.
Start at `candidate_evaluation`.
"""
