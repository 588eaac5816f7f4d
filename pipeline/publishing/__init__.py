"""From an evaluated network to a published version, and from a version to other formats.

Imports evaluation, report and `quadnet.registry`; only the commands import it. Start at `publish`.
"""
