#!/usr/bin/env bash
# Starts `freshet dev` on free ports with its data in a temporary folder, runs `freshet load` on it with the arguments given, and stops it,
# whatever happens. The exit status is that of the load. bin/freshet must have been built; FRESHET_BIN names another.
set -euo pipefail

cd "$(dirname "$0")/.."

program=${FRESHET_BIN:-bin/freshet}
folder=$(mktemp -d)
# As root, Postgres runs as another user, who has to get to its data.
chmod 755 "$folder"
dev=
load=

# shellcheck disable=SC2317 # the trap calls it
clean_up() {
    local status=$?
    trap '' INT TERM HUP # a second Ctrl-C must not leave servers behind
    dev=${dev:-${!:-}} # a signal may come when it was just started, before its number was kept
    if [[ -n $dev ]]; then
        kill -INT "$dev" 2>/dev/null || :
        for _ in {1..300}; do # 30 s
            kill -0 "$dev" 2>/dev/null || break
            sleep 0.1
        done
        # Its group are the servers that it started; mostly there is nobody left.
        kill -KILL -- "-$dev" 2>/dev/null || :
        wait "$dev" 2>/dev/null || :
    fi
    rm -rf "$folder"
    exit "$status"
}
trap clean_up EXIT
# The load stops early and shows what it has; the script goes on from its wait.
trap '[[ -z $load ]] && exit 130; kill -INT "$load" 2>/dev/null || :' INT TERM HUP

taken=()
# free_port sets port to one that nobody listens on, below the range that the system hands out by itself.
free_port() {
    for _ in {1..100}; do
        port=$((20000 + RANDOM % 12000))
        if [[ " ${taken[*]-} " != *" $port "* ]] && ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            taken+=("$port")
            return
        fi
    done
    echo "load: no free port" >&2
    exit 2
}

# Whatever settings the shell has are for other servers.
unset DATABASE_URL REDIS_URL REDIS_HOST NATS_URL
for variable in "${!FRESHET_@}"; do
    [[ $variable == FRESHET_PG_BIN ]] || unset "$variable"
done
free_port && export FRESHET_HTTP_ADDR=127.0.0.1:$port
free_port && export FRESHET_DEV_POSTGRES_PORT=$port
free_port && export FRESHET_DEV_REDIS_PORT=$port
free_port && export FRESHET_DEV_NATS_PORT=$port
for name in CDC INVALIDATOR; do # unused by a version that serves no HTTP there
    free_port && export "FRESHET_${name}_HTTP_ADDR=127.0.0.1:$port"
done

echo "load: starting freshet dev" >&2
set -m # a group of its own: a Ctrl-C is for the load first
"$program" dev --data "$folder/data" >"$folder/log" 2>&1 </dev/null &
dev=$!
for _ in {1..1200}; do # 2 minutes
    [[ -f $folder/data/dev.env ]] && break
    if ! kill -0 "$dev" 2>/dev/null; then
        break
    fi
    sleep 0.1
done
if [[ ! -f $folder/data/dev.env ]]; then
    echo "load: freshet dev did not start:" >&2
    cat "$folder/log" >&2
    exit 2
fi
# shellcheck source=/dev/null
source "$folder/data/dev.env"

"$program" load "$@" </dev/null &
load=$!
status=0
# A signal interrupts the wait: then wait again, for the end.
while :; do
    wait "$load" && status=0 || status=$?
    kill -0 "$load" 2>/dev/null || break
done
if ! kill -0 "$dev" 2>/dev/null; then
    echo "load: freshet dev has ended meanwhile:" >&2
    tail -n 40 "$folder/log" >&2
fi
exit "$status"
