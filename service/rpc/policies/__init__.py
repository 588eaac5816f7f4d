"""The rules for calls, one per file. `service.rpc.call_runner` applies them to each call."""
