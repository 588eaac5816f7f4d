"""Data: the datasets that a run file can name, and the splits.

Imports `pipeline.config`; training, evaluation, search and scoring import it. Start at `datasets`.
`files` reads the users' files. `splits` makes the training part, the validation part and the sealed
test part.
"""
