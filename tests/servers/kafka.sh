#!/usr/bin/env bash
# One real Kafka broker (KRaft, a single process) on 127.0.0.1 for the slow tests. See README.md.
#
#   kafka.sh start DIR PORT   starts it on the data in DIR and prints its address; port 0 picks a free one
#   kafka.sh stop DIR         asks it to stop, and kills it after 20 s
#   kafka.sh kill DIR         kills it at once
#   kafka.sh restart DIR      stops it if it runs, and starts it on the same data and port
#
# With OWNER_PID set, start and restart leave a watcher behind that stops the broker when that process is gone.
set -euo pipefail
export LC_ALL=C # The order of the class path must not depend on the language: the class archive knows it.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$here/pom.xml")
jars=${INCIDENTD_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/incidentd-tests}/kafka-$version

die() {
    echo "kafka.sh: $*" >&2
    exit 1
}

write_config() { # PORT CONTROLLER_PORT
    cat >"$dir/server.properties" <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$2
listeners=PLAINTEXT://127.0.0.1:$1,CONTROLLER://127.0.0.1:$2
advertised.listeners=PLAINTEXT://127.0.0.1:$1
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=$dir/data

# Tests create their topics, and their events may be of any age.
auto.create.topics.enable=false
num.partitions=4
log.retention.ms=-1
# Records beyond the limit of an event must get through, to be refused by the daemon.
message.max.bytes=8388608

# A broker of one, with few internal partitions.
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1

# Groups form at once and notice dead members soon. The last four are for group.protocol=consumer.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=6000
group.consumer.min.session.timeout.ms=1000
group.consumer.heartbeat.interval.ms=1000
group.consumer.min.heartbeat.interval.ms=500

# After a kill the controller refuses the new broker until the session of the old one has ended (9 s by default).
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=250

# Small.
num.network.threads=2
num.io.threads=2
background.threads=2
log.cleaner.dedupe.buffer.size=8388608
END
    cat >"$dir/log4j2.properties" <<END
rootLogger.level=info
rootLogger.appenderRef.file.ref=file
appender.file.type=File
appender.file.name=file
appender.file.fileName=$dir/server.log
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d{ISO8601} %p %m (%c{1})%n
END
}

taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Below 32768, where the system takes the ports of outgoing connections from: a port stays free during a restart.
free_port() { # [NOT_THIS_ONE]
    local port
    for _ in {1..50}; do
        port=$((20000 + RANDOM % 12000))
        [[ $port == "${1:-}" ]] || taken "$port" || { echo "$port" && return; }
    done
    die "found no free port"
}

# The start time of a process, which tells it from a later one with its number. Empty once it is gone, or a zombie
# without further threads: only then are its ports and file locks free.
birth() { # PID
    local stat
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 0
    read -ra stat <<<"${stat##*) }"
    [[ ${stat[0]} == [ZX] ]] && ((stat[17] <= 1)) || echo "${stat[19]}"
}

runs() { # PID BIRTH
    [[ -n $2 && $(birth "$1") == "$2" ]]
}

# Sets the two that identify the broker of DIR; they are empty if there is none.
read_pid() {
    pid=$(cat "$dir/kafka.pid" 2>/dev/null) || pid=
    pid_birth=$(cat "$dir/kafka.birth" 2>/dev/null) || pid_birth=
}

# The class archive halves the start. Where there is none, the run that fetch.sh does makes it when it stops.
set_jvm() {
    local archive=-XX:SharedArchiveFile
    [[ -f $jars/classes.jsa ]] || archive=-XX:ArchiveClassesAtExit
    CLASSPATH=$(printf '%s:' "$jars"/*.jar)
    export CLASSPATH
    jvm=(java -Xms64m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData
        "-Dlog4j2.configurationFile=$dir/log4j2.properties")
    format=("${jvm[@]}" kafka.tools.StorageTool format -c "$dir/server.properties")
    broker=("${jvm[@]}" "$archive=$jars/classes.jsa" kafka.Kafka "$dir/server.properties")
}

format_data() {
    [[ ! -f $dir/data/meta.properties ]] || return 0
    local id
    id=$(head -c 16 /dev/urandom | base64 | tr '+/' 'AB' | tr -d =)
    "${format[@]}" -t "$id" >>"$dir/server.out" 2>&1 || die "cannot format $dir/data, see $dir/server.out"
}

start() { # PORT
    [[ -d $jars ]] || die "Kafka $version is not there; run $here/fetch.sh"
    read_pid
    ! runs "$pid" "$pid_birth" || die "a broker already runs in $dir"
    local port=$1 owner_birth='' controller_port log_start
    if [[ -n ${OWNER_PID:-} ]]; then
        owner_birth=$(birth "$OWNER_PID")
        [[ -n $owner_birth ]] || die "OWNER_PID $OWNER_PID does not run"
    fi
    ((port)) || port=$(free_port)
    ! taken "$port" || die "port $port is taken"
    controller_port=$(free_port "$port")
    write_config "$port" "$controller_port"
    set_jvm
    format_data

    touch "$dir/server.log"
    log_start=$(($(stat -c %s "$dir/server.log") + 1))
    setsid "${broker[@]}" </dev/null >>"$dir/server.out" 2>&1 &
    pid=$!
    pid_birth=$(birth "$pid")
    echo "$pid" >"$dir/kafka.pid"
    echo "$pid_birth" >"$dir/kafka.birth"
    if [[ -n $owner_birth ]]; then
        setsid "$here/kafka.sh" watch "$dir" "$pid" "$pid_birth" "$OWNER_PID" "$owner_birth" \
            </dev/null >/dev/null 2>&1 &
    fi
    wait_until_ready "$port" "$log_start"
    echo "127.0.0.1:$port"
}

wait_until_ready() { # PORT LOG_START
    local deadline=$((SECONDS + 60))
    until grep -q 'Kafka Server started' < <(tail -c "+$2" "$dir/server.log") && taken "$1"; do
        if ! runs "$pid" "$pid_birth" || ((SECONDS >= deadline)); then
            end_broker KILL
            die "the broker did not start, see server.log and server.out in $dir"
        fi
        sleep 0.05
    done
}

# Sends a signal and waits; false if the process is still there after so many seconds.
end_with() { # SIGNAL PID BIRTH SECONDS
    local deadline=$((SECONDS + $4))
    kill "-$1" "$2" 2>/dev/null || true
    while runs "$2" "$3"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.02
    done
}

end() { # SIGNAL PID BIRTH
    ! runs "$2" "$3" || end_with "$1" "$2" "$3" 20 || end_with KILL "$2" "$3" 5 || die "process $2 does not die"
}

end_broker() { # SIGNAL
    read_pid
    end "$1" "$pid" "$pid_birth"
    rm -f "$dir/kafka.pid" "$dir/kafka.birth"
}

restart() {
    local port
    port=$(sed -n 's|^advertised.listeners=.*:||p' "$dir/server.properties" 2>/dev/null) ||
        die "no broker was ever started in $dir"
    end_broker TERM
    start "$port"
}

watch() { # PID BIRTH OWNER OWNER_BIRTH
    while runs "$1" "$2"; do
        runs "$3" "$4" || end TERM "$1" "$2"
        sleep 1
    done
}

usage() {
    sed -n '4,7s/^# *//p' "${BASH_SOURCE[0]}" >&2
    exit 2
}

command=${1:-}
[[ -n ${2:-} ]] || usage
[[ $command != start ]] || { [[ ${3:-} =~ ^[0-9]+$ ]] || usage; mkdir -p "$2"; }
dir=$(realpath -m -- "$2")
case $command:$# in
    start:3) start "$3" ;;
    stop:2) end_broker TERM ;;
    kill:2) end_broker KILL ;;
    restart:2) restart ;;
    watch:6) watch "$3" "$4" "$5" "$6" ;;
    *) usage ;;
esac
