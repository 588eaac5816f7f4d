"""Models of an MLflow file store: found, and loaded, without MLflow.

The store is a directory of YAML and text files. `pipeline.commands` imports it. Start at `store`,
which finds the folder of a model and what is known of its run; `model_files` loads the model.
"""
