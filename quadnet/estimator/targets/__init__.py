"""What a network is trained to answer: class labels or numbers, and rows with their targets.

`encoding` is what the estimators need of both; `labels` and `numbers` are the two; `target_rows`
holds validated rows. Imports `quadnet.nn` and the scaler of columns. Start at `encoding`.
"""
