"""Data: the datasets that a run file can name, files read in chunks, and the splits.

Imports `pipeline.config`; training, evaluation, search and scoring import it. Start at `datasets`.
`splits` makes the training part, the validation part and the sealed test part.
"""
