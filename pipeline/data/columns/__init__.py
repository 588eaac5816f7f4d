"""What the columns of a user's table mean: their kinds, the target, leaks; and their settings.

Takes the columns that `pipeline.data.files` reads, and gives the rows of a `Dataset`. Start at
`table_loading`.
"""
