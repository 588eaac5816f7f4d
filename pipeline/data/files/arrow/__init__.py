"""Arrow: raw columns of Arrow and Parquet files, by the types that they have there.

Every module needs pyarrow. Start at `arrow_source`.
"""
