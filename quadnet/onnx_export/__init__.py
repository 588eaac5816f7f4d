"""Networks as ONNX graphs, for other runtimes. Needs the extra `onnx`.

The operators give what the network gives: `layer_operators` has those of the layers,
`column_operators` those of an encoder of a table, whose inputs `column_inputs` names and fills.
`document` is the whole model, and `skl2onnx_converter` what skl2onnx needs for a pipeline. Imports
`quadnet.nn` and `quadnet.tables`; the estimator and the pipeline import it, late. Start at
`document`.
"""
