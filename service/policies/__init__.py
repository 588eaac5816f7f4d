"""The rules for calls, one a file; `service.guard` puts them around the methods."""
