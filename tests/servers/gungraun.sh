#!/usr/bin/env bash
# Runs an executable that counts instructions, with the gungraun-runner that fetch.sh has put into the cache: gungraun.sh EXECUTABLE ...
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${INCIDENTD_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/incidentd-tests}
version=$(sed -n '/^name = "gungraun-runner"$/{n;s/version = "\(.*\)"/\1/p;}' "$here/../../Cargo.lock")
PATH=$cache/gungraun-runner-$version/bin:$PATH exec "$@"
