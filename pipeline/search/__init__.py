"""The search for a network's parameters: cross-validated fits, recorded in a ledger.

Imports data, training and evaluation; only the commands import it. Start at `plan`, then
`search_run`.
"""
