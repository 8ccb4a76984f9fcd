#!/usr/bin/env bash
# Throwaway PostgreSQL, RabbitMQ and Redis: native, on free ports of 127.0.0.1, with everything they write in one
# directory. Servers on the standard ports are neither used nor disturbed.
set -euo pipefail

LIB=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/lib
ROOT=$(cd "$LIB/../../.." && pwd)

# shellcheck source=/dev/null
for part in install lifecycle postgres rabbitmq redis; do . "$LIB/$part.sh"; done

usage() {
    cat <<'USAGE'
usage: services.sh VERB

  install           what is missing: the servers (Debian packages, as root), the Python environment .venv/, and in
                    it the npm packages and clients of CloudPayments that tests run
  up DIR            start all three in DIR and write DIR/env, lines of KEY=value for the tests
  down DIR          stop them, and everything else that lives in DIR, and remove what they wrote
  exec [--] CMD…    run CMD with the servers up and DIR/env in its environment; end them however CMD ends

  start NAME DIR    one server of your own: postgres, rabbitmq or redis. Writes DIR/env. Started again in the same
                    DIR it keeps its ports and, but for Redis, its data
  stop DIR          stop it in order
  kill DIR          kill -9
USAGE
}

say() { echo "services: $*" >&2; }

die() {
    say "$@"
    exit 1
}

up() {
    mkdir -p "$1"
    local dir name job jobs=() failed=0
    dir=$(cd "$1" && pwd)
    chmod 711 "$dir" # the user that PostgreSQL runs as has to pass through
    [[ ! -e $dir/env ]] || die "$dir is in use; end it with: services.sh down $dir"
    for name in postgres rabbitmq redis; do
        start "$name" "$dir/$name" &
        jobs+=($!)
    done
    for job in "${jobs[@]}"; do wait "$job" || failed=1; done
    if ((failed)); then
        down "$dir"
        exit 1
    fi
    cat "$dir"/{postgres,rabbitmq,redis}/env - >"$dir/env.new" <<ENV
TEST_PYTHON=$ROOT/.venv/bin/python
TEST_SERVICES_DIR=$dir
PYTHONDONTWRITEBYTECODE=1
ENV
    mv "$dir/env.new" "$dir/env"
}

down() {
    local dir server job jobs=()
    dir=$(cd "$1" && pwd)
    # PostgreSQL alone is asked first: killed outright it would leave shared memory behind.
    for server in "$dir"/postgres "$dir"/own/*; do
        [[ -e $server/pid && $(cat "$server/kind") == postgres ]] || continue
        stop "$server" &
        jobs+=($!)
    done
    for job in "${jobs[@]}"; do wait "$job" || true; done
    kill_all "$dir"
    rm -rf "$dir"/{postgres,rabbitmq,redis,own,env,env.new}
}

execute() {
    local child status=0
    EXEC_DIR=$(mktemp -d "${TMPDIR:-/tmp}/services.XXXXXX")
    trap 'trap "" HUP INT TERM; down "$EXEC_DIR"; rm -rf "$EXEC_DIR"' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    up "$EXEC_DIR"
    # In the background, so that a signal is answered at once; with the keyboard's signals as in the foreground.
    (
        trap - HUP INT QUIT TERM
        set -a
        # shellcheck source=/dev/null
        . "$EXEC_DIR/env"
        # shellcheck disable=SC2034 # read in processes_of
        THROWAWAY_DIR=$EXEC_DIR/
        exec "$@"
    ) <&0 &
    child=$!
    wait "$child" || status=$?
    exit "$status"
}

main() {
    local verb=${1:-help}
    shift || true
    case $verb:$# in
        install:0) install ;;
        up:1 | down:1 | stop:1) "$verb" "$1" ;;
        kill:1) kill_server "$1" ;;
        start:2) start "$1" "$2" ;;
        exec:*)
            [[ ${1:-} != -- ]] || shift
            (($#)) || die "exec needs a command"
            execute "$@"
            ;;
        help:* | --help:* | -h:*) usage ;;
        *)
            usage >&2
            exit 64
            ;;
    esac
}

main "$@"
