#!/bin/sh
# Pins every dependency, with hashes and without naming a host. Run it to move the pins.
set -eu
cd "$(dirname "$0")/.."

pin() {
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-annotate --no-header --custom-compile-command requirements/compile.sh "$@"
}
pin pyproject.toml --extra pipeline --extra rest --output-file requirements/full.txt
# The same versions as full, of fewer packages.
pin requirements/serve.in --constraint requirements/full.txt --output-file requirements/serve.txt
pin requirements/build.in --output-file requirements/build.txt
