"""Models that were trained elsewhere, in the form of a version: an encoder and a network.

Each column that a pipeline's steps make is followed back to one column of the caller. What cannot
be represented exactly is refused by the name of its step. `pipeline.publishing` imports it. Start
at `adopted_model`; `column_formulas` has the forms that a column takes, `transformers` the table of
steps, `encoder_building` makes the encoder and what is folded into the first layer.
"""
