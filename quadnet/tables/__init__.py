"""Tables with texts, gaps and dates, and their encoding as the numbers that a network takes.

Columns in, arrays out: no files, no data frames. Imports NumPy, `quadnet.errors` and
`quadnet.types`; the estimator, the registry and the pipeline import it. Start at `columns`, the
forms that a column has in memory; `encoder` turns a table into the inputs of a network.
"""
