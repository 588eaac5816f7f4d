"""The server: assembled, started, stopped, and run in one process or several.

Imports both APIs and everything below them; only the commands import it. Start at `server`, then
`worker` (one process) and `supervisor` (several).
"""
