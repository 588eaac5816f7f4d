"""Run files in TOML, validated into a frozen `RunConfig`; and the presets.

Imports no other folder of the pipeline; all of them import it. Start at `run_config`,
the whole tree; each section of a run file has a module.
"""
