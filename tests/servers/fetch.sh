#!/usr/bin/env bash
# Makes sure that everything the slow tests talk to is there. Says nothing when all is well, one line when not.
# Running it again, or several times at once, is fine. See README.md.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$here/pom.xml")
cache=${INCIDENTD_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/incidentd-tests}
kafka=$cache/kafka-$version
python=$cache/python
runner_version=$(sed -n '/^name = "gungraun-runner"$/{n;s/version = "\(.*\)"/\1/p;}' "$here/../../Cargo.lock")
runner=$cache/gungraun-runner-$runner_version
log=$cache/fetch.log

die() {
    echo "fetch.sh: $*" >&2
    exit 1
}

has() { command -v "$1" >/dev/null; }

# What the cache was made from. The time stamp of java is in it because a class data archive fits one build only.
fingerprint() {
    cksum <"$here/pom.xml"
    stat -L -c '%n %Y' "$(command -v java)"
}

python_fingerprint() {
    cksum <"$here/requirements.txt"
    python3 --version
}

python_complete() {
    has python3 && [[ -f $python/.complete && $(<"$python/.complete") == "$(python_fingerprint)" ]]
}

runner_complete() { has valgrind && [[ -x $runner/bin/gungraun-runner ]]; }

complete() {
    python_complete && kafka_complete && runner_complete && has prometheus && has promtool && has prometheus-alertmanager && has amtool
}

kafka_complete() {
    has java && [[ -f $kafka/.complete && $(<"$kafka/.complete") == "$(fingerprint)" ]]
}

java_works() {
    local major
    has java || return 1
    major=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
    ((${major:-0} >= 17))
}

# Debian has the module for environments in a package of its own.
python_works() { has python3 && python3 -c 'import ensurepip, venv' 2>/dev/null; }

as_root() { if ((EUID == 0)); then "$@"; else sudo "$@"; fi; }

# Debian starts a service as soon as it is installed, unless this file forbids it. One that is there already stays.
forbid_services() {
    [[ ! -e /usr/sbin/policy-rc.d ]] || return 0
    trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' | as_root tee /usr/sbin/policy-rc.d >/dev/null
    as_root chmod 755 /usr/sbin/policy-rc.d
}

install_packages() {
    local wanted=()
    java_works || wanted+=(openjdk-17-jre-headless)
    has mvn || wanted+=(maven)
    { has prometheus && has promtool; } || wanted+=(prometheus)
    { has prometheus-alertmanager && has amtool; } || wanted+=(prometheus-alertmanager)
    python_works || wanted+=(python3 python3-venv)
    has valgrind || wanted+=(valgrind)
    ((${#wanted[@]})) || return 0

    has apt-get || die "please install ${wanted[*]} (there is no apt-get here)"
    ((EUID == 0)) || has sudo || die "please install ${wanted[*]} (neither root nor sudo here)"
    forbid_services
    # Old package lists may still do, so only the installation decides.
    as_root apt-get -qq update >"$log" 2>&1 || true
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 \
        install --no-install-recommends "${wanted[@]}" >>"$log" 2>&1 ||
        die "apt-get could not install ${wanted[*]}, see $log"
    hash -r
    java_works || die "java on the PATH is older than 17 although openjdk-17-jre-headless is installed"
}

fetch_python() {
    rm -rf "$python"
    { python3 -m venv "$python" &&
        "$python/bin/pip" --quiet --disable-pip-version-check install --no-deps -r "$here/requirements.txt" &&
        "$python/bin/pip" --quiet check; } >"$log" 2>&1 ||
        die "pip could not install requirements.txt, see $log"
    python_fingerprint >"$python/.complete"
}

# What runs benches/instructions.rs; it must be of the version of the library. Built without optimisation, which is
# quicker than what it has to do. `cargo install` moves it to its place when all is done.
fetch_runner() {
    has cargo || die "cargo is missing, which builds gungraun-runner"
    (cd "$here/../.." && cargo install --quiet --locked --debug --root "$runner" \
        --version "$runner_version" gungraun-runner) >"$log" 2>&1 ||
        die "cargo could not install gungraun-runner $runner_version, see $log"
}

fetch_kafka() {
    local new=$kafka.new
    rm -rf "$new"
    mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$new" >"$log" 2>&1 ||
        die "maven could not get Kafka $version, see $log"
    rm -rf "$kafka"
    mv "$new" "$kafka"
}

# One run shows that the broker works. At its stop it writes an archive of its classes for later starts.
try_kafka() {
    local trial
    trial=$(mktemp -d)
    OWNER_PID=$$ "$here/kafka.sh" start "$trial" 0 >"$log" 2>&1 9>&- ||
        die "Kafka $version does not start: $(tail -n 1 "$log")"
    "$here/kafka.sh" stop "$trial"
    rm -rf "$trial"
}

! complete || exit 0
mkdir -p "$cache" 2>/dev/null || die "cannot create $cache"
exec 9>"$cache/lock"
flock -w 900 9 || die "another fetch.sh has held $cache/lock for 15 minutes"
! complete || exit 0
install_packages
if ! python_complete; then
    fetch_python
fi
if ! runner_complete; then
    fetch_runner
fi
if ! kafka_complete; then
    fetch_kafka
    try_kafka
    fingerprint >"$kafka/.complete"
fi
