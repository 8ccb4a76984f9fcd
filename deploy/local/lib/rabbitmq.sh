# shellcheck shell=bash
# RabbitMQ with its management API: a node of its own, down to its Erlang port mapper (epmd), so that a system-wide one
# and its cookie are left alone. Ports: AMQP, management, distribution, epmd. With SERVICES_PEER=DIR it is one more node of
# the cluster of the node in DIR, whose port mapper and cookie it shares.

RABBITMQ_BIN=/usr/lib/rabbitmq/bin # Debian's rabbitmq-server in the PATH insists on its own user

rabbitmq_missing() { [[ -x $RABBITMQ_BIN/rabbitmq-server ]] && command -v epmd >/dev/null || echo rabbitmq-server; }
rabbitmq_ports() { echo 4; }

rabbitmq_prepare() {
    local dir=$1 amqp=$2 management=$3
    echo '[rabbitmq_management].' >"$dir/enabled_plugins"
    : >"$dir/environment"
    cat >"$dir/rabbitmq.conf" <<CONF
listeners.tcp.1 = 127.0.0.1:$amqp
management.tcp.ip = 127.0.0.1
management.tcp.port = $management
# The figures of the management API are at most this old (milliseconds); tests wait for them.
collect_statistics_interval = 1000
# Neither is for a laptop to fail on.
vm_memory_high_watermark.absolute = 2GB
disk_free_limit.absolute = 64MB
log.console.level = warning
CONF
    [[ -z ${SERVICES_PEER:-} || -e $dir/peer ]] || rabbitmq_join "$dir" "$amqp"
}

rabbitmq_join() {
    local dir=$1 amqp=$2
    echo "$SERVICES_PEER" >"$dir/peer"
    cp -p "$SERVICES_PEER/.erlang.cookie" "$dir/"
    cat >"$dir/cluster.conf" <<CONF
cluster_formation.peer_discovery_backend = classic_config
cluster_formation.classic_config.nodes.1 = rabbit@localhost
cluster_formation.classic_config.nodes.2 = rabbit-$amqp@localhost
CONF
}

rabbitmq_run() {
    local dir=$1 amqp=$2 dist=$4 epmd=$5 node=rabbit
    if [[ -e $dir/peer ]]; then
        read -r _ _ _ epmd <"$(cat "$dir/peer")/ports"
        node=rabbit-$amqp
        cat "$dir/cluster.conf" >>"$dir/rabbitmq.conf"
    fi
    export HOME=$dir ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=$epmd
    export RABBITMQ_NODENAME=$node@localhost RABBITMQ_DIST_PORT=$dist
    export RABBITMQ_MNESIA_BASE=$dir/mnesia RABBITMQ_LOG_BASE=$dir/log.d RABBITMQ_LOGS=-
    export RABBITMQ_CONFIG_FILE=$dir/rabbitmq.conf RABBITMQ_CONFIG_FILES=$dir/conf.d
    export RABBITMQ_ADVANCED_CONFIG_FILE=$dir/advanced.config RABBITMQ_CONF_ENV_FILE=$dir/environment
    export RABBITMQ_ENABLED_PLUGINS_FILE=$dir/enabled_plugins
    # Distribution on loopback only; schedulers that sleep instead of spinning: the tests need the processor.
    export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1} \
+sbwt none +sbwtdcpu none +sbwtdio none"
    # The script then becomes the Erlang machine instead of watching over it, so the pid is the server's.
    export RUNNING_UNDER_SYSTEMD=true
    [[ -e $dir/peer ]] || setsid epmd -port "$epmd" -address 127.0.0.1 &
    exec setsid "$RABBITMQ_BIN/rabbitmq-server"
}

# The management API comes last.
rabbitmq_ready() {
    local status
    (
        exec 3<>"/dev/tcp/127.0.0.1/$2" 4<>"/dev/tcp/127.0.0.1/$3"
        printf 'GET /api/vhosts HTTP/1.0\r\nAuthorization: Basic %s\r\n\r\n' "$(printf guest:guest | base64)" >&4
        read -r -t 2 status <&4
        [[ $status == *' 200 '* ]]
    )
}

rabbitmq_stop() { kill -TERM "$1"; }

rabbitmq_env() {
    echo "TEST_AMQP_URL=amqp://guest:guest@127.0.0.1:$2"
    echo "TEST_RABBITMQ_API=http://guest:guest@127.0.0.1:$3"
}
