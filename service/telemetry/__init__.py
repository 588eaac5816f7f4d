"""Logs in JSON and metrics for Prometheus.

Imports `service.net`; everything that serves imports it. Start at `metrics` and `logs`.
"""
