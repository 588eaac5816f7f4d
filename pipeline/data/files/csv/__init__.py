"""CSV: rows that stay unchanged, with their numbers, labels or texts, in any dialect.

Start at `csv_file`; `csv_source` adds dialects, encodings and compression to it.
"""
