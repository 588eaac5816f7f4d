"""Recorded updates, replayed from C: training without NumPy's overhead for each call.

The compiled part is optional. `hatch_build.py` compiles `replay.c` while Quadnet is installed, if
there is a C compiler. Without it, training runs on NumPy alone and gives the same numbers. Imports
`quadnet.types` and NumPy; `quadnet.nn.training` imports it. Start at `library`, which finds and
loads the compiled part.
"""
