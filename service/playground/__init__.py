"""The page: its HTTP gateway, its sandbox networks, and the process in which they run.

Imports client, rpc and quadrant_v1; only the commands import it. Start at `page_server`; in the
browser, at static/app.js.
"""
