"""Recorded updates, replayed from C: training without NumPy's overhead for each call.

The compiled part is optional. `hatch_build.py` compiles `replay.c` while Quadnet is installed, if
there is a C compiler. Without it, training runs on NumPy alone and gives the same numbers.

The mathematics is written once, in NumPy. `update_loop` makes the first updates, `recording` notes
the calls of one of them, `calls` holds the list, with `loops`, the addresses of NumPy's own inner
loops, and `library` finds the compiled part. `quadnet.nn.training` imports it; it imports NumPy
alone. Start at `update_loop`.
"""
