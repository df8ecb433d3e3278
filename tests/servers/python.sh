#!/usr/bin/env bash
# Runs a tool of requirements.txt from where fetch.sh has put it: python.sh TOOL ARGUMENTS… See README.md.
set -euo pipefail

cache=${INCIDENTD_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/incidentd-tests}
exec "$cache/python/bin/$1" "${@:2}"
