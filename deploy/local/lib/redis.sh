# shellcheck shell=bash
# Redis: many databases, one for each test; nothing is written to disk, so a restart empties it.

redis_missing() { command -v redis-server redis-cli >/dev/null || echo redis-server; }
redis_ports() { echo 1; }
redis_prepare() { mkdir -p "$1/data"; }

redis_run() {
    cd "$1/data" || exit
    exec setsid redis-server --bind 127.0.0.1 --port "$2" --databases 4096 --save "" --appendonly no
}

redis_ready() { [[ $(redis-cli -p "$2" ping) == PONG ]]; }
redis_stop() { kill -TERM "$1"; }
redis_env() { echo "TEST_REDIS_URL=redis://127.0.0.1:$2"; }
