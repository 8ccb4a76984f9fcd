# shellcheck shell=bash
# The life of one server in a directory of its own. A server is five functions: `NAME_missing` (what has to be
# installed), `NAME_ports` (how many it needs), `NAME_prepare`, `NAME_run` (becomes the server) and `NAME_ready`, given
# the directory and the ports; and `NAME_env`, what tests need to know.
#
# The directory holds kind, ports, pid, env and log besides what the server itself keeps there.

READY_WITHIN=90
STOPPED_WITHIN=20

start() {
    local name=$1 dir missing attempt
    missing=$("${name}_missing") || die "unknown server $name"
    [[ -z $missing ]] || die "$missing is missing; run: services.sh install"
    mkdir -p "$2"
    dir=$(cd "$2" && pwd)
    chmod 711 "$dir"
    echo "$name" >"$dir/kind"
    if [[ -e $dir/ports ]]; then
        launch "$name" "$dir" || die "$name did not come back; its log is $dir/log"
        return
    fi
    for attempt in 1 2 3; do
        free_ports "$("${name}_ports")" >"$dir/ports"
        launch "$name" "$dir" && return
        # Between finding a port and listening on it somebody else may take it; nothing else is worth a new try.
        grep -qiE 'address (already )?in use|eaddrinuse' "$dir/log" || break
    done
    die "$name did not start (attempt $attempt); its log is $dir/log"
}

launch() {
    local name=$1 dir=$2 ports pid deadline=$((SECONDS + READY_WITHIN))
    read -ra ports <"$dir/ports"
    "${name}_prepare" "$dir" "${ports[@]}" >"$dir/log" 2>&1 || show_log "$dir" || return 1
    (
        cd "$dir" || exit
        export THROWAWAY_DIR=$dir/
        "${name}_run" "$dir" "${ports[@]}"
    ) </dev/null >>"$dir/log" 2>&1 &
    pid=$!
    echo "$pid" >"$dir/pid"
    until "${name}_ready" "$dir" "${ports[@]}" >/dev/null 2>&1 && alive "$pid"; do
        if ! alive "$pid" || ((SECONDS > deadline)); then
            show_log "$dir"
            kill_server "$dir"
            return 1
        fi
        sleep 0.1
    done
    "${name}_env" "$dir" "${ports[@]}" >"$dir/env"
    echo "TEST_${name^^}_PID=$pid" >>"$dir/env"
}

# Asks the server to end, and insists after a while. One that has ended is left in peace.
stop() {
    local pid kind deadline=$((SECONDS + STOPPED_WITHIN))
    [[ -e $1/pid ]] || return 0
    pid=$(cat "$1/pid")
    kind=$(cat "$1/kind")
    "${kind}_stop" "$pid" 2>/dev/null || true
    while alive "$pid" && ((SECONDS <= deadline)); do sleep 0.05; done
    kill_server "$1"
}

kill_server() {
    local dir
    dir=$(cd "$1" && pwd)
    kill_all "$dir"
    rm -f "$dir/pid"
}

# Everything that belongs to a directory, until nothing is left.
kill_all() {
    local deadline=$((SECONDS + STOPPED_WITHIN)) pid pids
    while pids=$(processes_of "$1") && [[ -n $pids ]]; do
        # shellcheck disable=SC2086
        kill -KILL $pids 2>/dev/null || true
        for pid in $pids; do
            while alive "$pid"; do
                ((SECONDS <= deadline)) || die "process $pid of $1 does not end"
                sleep 0.02
            done
        done
    done
}

# A server, and a command under `exec` with all it left behind, has THROWAWAY_DIR in its environment. PostgreSQL and
# Redis overwrite theirs with a title, but live in data/. So nothing outlives its directory, with a pid file or without.
processes_of() {
    {
        grep -lzsF "THROWAWAY_DIR=$1/" /proc/[0-9]*/environ | xargs -r dirname
        find /proc -maxdepth 2 -name cwd \( -lname "$1/data" -o -lname "$1/*/data" \) -printf '%h\n'
    } 2>/dev/null | sed 's:/proc/::' | sort -u || true
}

# A zombie has ended, even where nobody collects it.
alive() { grep -qs '^State:[[:space:]]*[^ZX]' "/proc/$1/status"; }

show_log() {
    say "the end of $1/log:"
    tail -n 25 "$1/log" >&2
    return 1
}

# Below the ports that the kernel gives to outgoing connections: one of those could take it before the server does.
free_ports() {
    python3 - "$1" <<'PYTHON'
import random, socket, sys

def is_free(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0 and bindable(port)

def bindable(port):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True

candidates = [port for port in range(10_000, 32_000) if port not in (15672, 15692, 25672)]
random.shuffle(candidates)
print(*[port for port, _ in zip(filter(is_free, candidates), range(int(sys.argv[1])))])
PYTHON
}
