"""Rows: the kinds of data that a run file names, tables read from files, and how rows are split.

Imports `pipeline.config`; training, evaluation, search and scoring import it. Start at `datasets`;
`splits` makes the training, validation and sealed test parts.
"""
