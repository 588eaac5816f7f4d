"""The rules for calls, one a file; `service.rpc.handlers` puts them around the methods."""
