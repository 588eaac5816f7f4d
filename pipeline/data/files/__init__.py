"""Files: readers of CSV and Parquet, whose rows stay unchanged until scoring writes them again.

Start at `source`, the interface of an open file.
"""
