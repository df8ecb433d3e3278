#!/usr/bin/env bash
# Draws docs/performance/flame-*.svg: where the daemon's CPU time goes on each path, from samples of perf while a row of the
# bench runs. Needs Linux; installs `perf` (Debian's linux-perf) and inferno (crates.io, into the cache of the test
# servers) where they are missing. Arguments choose paths by name; all of them otherwise.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=0.12.8
inferno=${INCIDENTD_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/incidentd-tests}/inferno-$version
profile=${PROFILE:-quick}

die() {
    echo "flames.sh: $*" >&2
    exit 1
}

install_tools() {
    if ! command -v perf >/dev/null; then
        local sudo=()
        ((EUID == 0)) || sudo=(sudo)
        "${sudo[@]}" apt-get -qq update >/dev/null 2>&1 || true
        "${sudo[@]}" apt-get -qq -y install --no-install-recommends linux-perf >/dev/null ||
            die "please install perf (Debian's package linux-perf)"
    fi
    if [[ ! -x $inferno/bin/inferno-flamegraph ]]; then
        cargo install --quiet --locked --root "$inferno" --version "$version" inferno --no-default-features \
            --features cli || die "cargo could not install inferno $version"
    fi
}

# The daemons of a recording, in the order of their start: processes whose main thread has the program's name.
daemons() {
    perf script -i "$1" --show-task-events -F comm,pid,tid,time 2>/dev/null |
        awk '$1 == "incidentd" { split($2, id, "/"); if (!seen[id[1]]++) print id[1] }'
}

# A picture of one row: its name, the title, the words of BENCH_ONLY, which of the row's daemons.
draw() {
    local name=$1 title=$2 only=$3 which=$4 data=target/bench/flame-$1
    mkdir -p target/bench
    # The C library and SQLite keep no frame pointers, so stacks are unwound from copies of 16 KiB.
    BENCH_ONLY=$only BENCH_EVENTS=${BENCH_EVENTS:-2000000} perf record -q -e cpu-clock -F 997 --call-graph dwarf,16384 -o "$data.perf" -- \
        cargo bench --locked --profile "$profile" --bench daemon >"$data.log" 2>&1 ||
        die "the bench failed, see $data.log"
    local pid
    pid=$(daemons "$data.perf" | sed -n "${which}p")
    [[ -n $pid ]] || die "no daemon in $data.perf"
    perf script -i "$data.perf" --pid "$pid" --no-inline 2>/dev/null |
        "$inferno/bin/inferno-collapse-perf" 2>/dev/null |
        sed -E 's/;(__libc_start_main_impl|_start|__GI___clone3|start_thread|__clone3)(;|$)/\2/g' >"$data.folded"
    "$inferno/bin/inferno-flamegraph" --title "$title" --subtitle "CPU samples of the daemon, profile $profile" \
        --countname ns --minwidth 0.3 --hash --width 1400 \
        <"$data.folded" >"docs/performance/flame-$name.svg"
    rm -f "$data.perf"
    echo "docs/performance/flame-$name.svg: $(awk '{ n += $NF } END { print int(n / 1e6) }' "$data.folded") ms"
}

wants() { (($# == 1)) || [[ " ${*:2} " == *" $1 "* ]]; }

install_tools
cargo bench --locked --profile "$profile" --bench daemon --no-run
wants grpc-storm "$@" && draw grpc-storm "gRPC stream of 512, storm" "grpc,stream,512,storm" 1
wants http-storm "$@" && draw http-storm "HTTP of 500, storm" "http,500,storm" 1
wants http-unique "$@" && draw http-unique "HTTP of 500, new alerts" "http,500,unique" 1
if wants kafka-storm "$@"; then
    tests/servers/fetch.sh
    draw kafka-storm "Kafka, protobuf, storm" "#8" 1
fi
