"""Parsing: raw columns of a file into numbers, dates and truth values, for training and scoring.

Start at `parsed_column`, which is the result of each parser. A parser works once for each distinct
text.
"""
