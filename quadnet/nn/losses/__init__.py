"""The output layer: a link (from logits to outputs), its loss and its probabilities, in one object.

Link and loss are paired only here, because each pair has one gradient: a wrong pair cannot be
written elsewhere.

Arrays hold one output unit per row and one example per column. Sums and comparisons over the
outputs then run over whole rows, which NumPy does several times faster than within rows.

`loss` is what the network needs of each; `of_classes` and `of_numbers` have them; `table` makes one
by its name. Imports NumPy and `quadnet.types`. Start at `loss`.
"""
