"""Files: readers of tables in any form that users have, whole or in chunks of unchanged rows.

Start at `raw_table`, which reads a whole file into raw columns, and at `raw_source`, which reads
one in chunks. `source` is the faster reader of files that have numbers only.
"""
