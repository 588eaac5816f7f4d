"""The training pipeline: data -> fit -> evaluate -> gate -> publish. Imports quadnet only."""
