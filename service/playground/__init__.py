"""The page: its HTTP gateway, its sandbox networks, and the process that they run in.

Imports client, rpc and quadrant_v1; only the commands import it. Start at `page_server`; in the
browser, at static/app.js.
"""
