# shellcheck shell=bash
# PostgreSQL: any version of Debian's. What is committed survives kill -9, but not the machine: nothing is synced, unless
# SERVICES_FSYNC=on says so. It refuses to run as root, so there it runs as the package's user.

postgres_missing() { [[ -n $(postgres_bin) ]] || echo postgresql; }
postgres_ports() { echo 1; }

postgres_prepare() {
    local dir=$1
    if [[ -d $dir/data ]]; then
        # A server that was killed left its claim. We know that it is dead; where its number lives on, the next does not.
        rm -f "$dir/data/postmaster.pid"
        return 0
    fi
    mkdir -m 700 "$dir/data"
    ((EUID != 0)) || chown "$(postgres_user):" "$dir/data"
    (
        cd /
        "${AS_POSTGRES[@]}" "$(postgres_bin)/initdb" --pgdata "$dir/data" --username postgres --auth trust --encoding UTF8 \
            --locale C.UTF-8 --no-sync --no-instructions
    ) || {
        say "can $(postgres_user) reach $dir? A directory under /tmp will do"
        return 1
    }
}

postgres_run() {
    local dir=$1 port=$2
    cd "$dir/data" || exit
    exec setsid "${AS_POSTGRES[@]}" "$(postgres_bin)/postgres" -D "$dir/data" -p "$port" \
        -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=500 \
        -c fsync="${SERVICES_FSYNC:-off}" -c full_page_writes="${SERVICES_FSYNC:-off}" -c shared_buffers=256MB \
        -c timezone=UTC -c jit=off -c log_min_messages=warning
}

postgres_ready() { "$(postgres_bin)/pg_isready" -q -h 127.0.0.1 -p "$2" -U postgres; }

# Fast shutdown: sessions are cut, nothing is lost.
postgres_stop() { kill -INT "$1"; }

postgres_env() {
    echo "TEST_DATABASE_URL=postgres://postgres:postgres@127.0.0.1:$2/postgres"
    echo "TEST_PGBENCH=$(postgres_bin)/pgbench"
}

postgres_bin() {
    local bin
    for bin in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV) "$(dirname "$(command -v initdb || true)")"; do
        if [[ -x $bin/initdb && -x $bin/postgres ]]; then
            echo "$bin"
            return
        fi
    done
}

postgres_user() {
    if id -u postgres >/dev/null 2>&1; then echo postgres; else echo nobody; fi
}

AS_POSTGRES=()
if ((EUID == 0)); then
    AS_POSTGRES=(setpriv --reuid "$(id -u "$(postgres_user)")" --regid "$(id -g "$(postgres_user)")" --clear-groups)
fi
