"""Run files: what a run is made of, in TOML, checked into a frozen `RunConfig`; and the presets.

Imports nothing else of the pipeline, and everything else imports it. Start at `run_config`, whose
classes are the sections of a run file.
"""
