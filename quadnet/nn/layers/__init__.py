"""The layers of a network: one file for each kind, and the table of kinds.

Arrays have the examples last in memory, because a slice of one value over all examples is then
contiguous. Imports NumPy, `quadnet.types`, `quadnet.nn.activations` and `quadnet.nn.losses`.
`quadnet.nn.network` and `quadnet.nn.backpropagation` import it. Start at `layer`, then `dense`;
`kinds` is the table.
"""
