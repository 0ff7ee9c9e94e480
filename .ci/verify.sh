#!/usr/bin/env bash
# Does what a new user does, and checks what he should see: a clean clone of the
# last commit, `make run`, a read that misses, one that hits, an UPDATE with psql,
# the new title. Then stops it and checks that nothing is left running, and that a
# second start goes on with the same data.
#
# Needs what deploy/setup.sh installs, and nothing else: HTTP is spoken over bash's
# /dev/tcp, processes are found in /proc. Every wait is bounded.
set -euo pipefail

cd "$(dirname "$0")/.."

work=$(mktemp -d)
# As root, the servers run as another user, who has to get to the data.
chmod 755 "$work"
log=$work/log
job=

say() { echo "verify: $*"; }

fail() {
    echo "verify: FAILED: $*" >&2
    if [[ -f $log ]]; then
        echo "verify: the last lines of its output:" >&2
        tail -n 40 "$log" | sed 's/^/    /' >&2
    fi
    exit 1
}

# left_running prints the processes that were started from the clone or keep
# their data in it.
left_running() {
    local proc
    for proc in /proc/[0-9]*; do
        if [[ "$(readlink "$proc/cwd" "$proc/exe" 2>/dev/null; tr '\0' ' ' 2>/dev/null <"$proc/cmdline")" == *"$work"* ]] &&
            [[ ${proc#/proc/} != "$$" && ${proc#/proc/} != "$BASHPID" ]]; then
            echo "${proc#/proc/} $(tr '\0' ' ' 2>/dev/null <"$proc/cmdline")"
        fi
    done
}

clean_up() {
    local status=$? pid
    if [[ -n $job ]]; then
        kill -INT -- "-$job" 2>/dev/null || :
        await 20 gone "$job" || :
    fi
    # Only what this script started: all of it has the temporary folder's name.
    left_running | while read -r pid _; do kill -KILL "$pid" 2>/dev/null || :; done
    rm -rf "$work"
    exit "$status"
}
trap clean_up EXIT

# await SECONDS COMMAND...: repeats the command until it succeeds.
await() {
    local until=$((SECONDS + $1))
    shift
    while ! "$@"; do
        ((SECONDS < until)) || return 1
        sleep 0.05
    done
}

gone() { ! kill -0 "$1" 2>/dev/null; }

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# free_port prints a port below the range that the system hands out by itself.
free_port() {
    local port
    for _ in {1..100}; do
        port=$((20000 + RANDOM % 12000))
        if ! listening "$port"; then
            echo "$port"
            return
        fi
    done
    fail "no free port"
}

# get PATH prints the response, headers and body.
get() {
    (
        exec 3<>"/dev/tcp/127.0.0.1/$http_port" || exit 1
        printf 'GET %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nConnection: close\r\n\r\n' "$1" "$http_port" >&3
        timeout 10 cat <&3
    ) 2>/dev/null
}

# shows PATH TEXT: does the response hold the text, in whatever case?
shows() { get "$1" | grep -qi -- "$2"; }

ready() {
    if gone "$job"; then
        fail "it ended before it was ready"
    fi
    # dev.env is written once the cache is in use.
    [[ -f $work/freshet/.freshet/dev.env ]] && shows /health/ready '^HTTP/1.1 200'
}

# start COMMAND... runs it in the background, in the clone, in a process group of
# its own and with SIGINT as a terminal's child has it, which job control does.
start() {
    set -m
    (
        cd "$work/freshet"
        unset DATABASE_URL REDIS_URL NATS_URL REDIS_HOST REDIS_PORT MAKEFLAGS MAKELEVEL
        for variable in "${!FRESHET_@}"; do
            [[ $variable == FRESHET_PG_BIN ]] || unset "$variable"
        done
        export FRESHET_HTTP_ADDR=127.0.0.1:$http_port FRESHET_DEV_POSTGRES_PORT=$postgres_port
        export FRESHET_DEV_REDIS_PORT=$redis_port FRESHET_DEV_NATS_PORT=$nats_port
        exec "$@"
    ) >>"$log" 2>&1 </dev/null &
    job=$!
    set +m
}

# stopped waits for the job to end with status 0 and to leave nothing behind.
stopped() {
    local status=0 port left
    await 30 gone "$job" || fail "it did not stop within 30 s of SIGINT"
    wait "$job" || status=$?
    job=
    [[ $status -eq 0 ]] || fail "it ended with status $status instead of 0"
    left=$(left_running)
    [[ -z $left ]] || fail "left running: $left"
    for port in "$http_port" "$postgres_port" "$redis_port" "$nats_port"; do
        ! listening "$port" || fail "something still listens on port $port"
    done
}

# find_psql prints where psql is; the server's folder has one too.
find_psql() {
    local candidate
    for candidate in "$(command -v psql || :)" "${FRESHET_PG_BIN:-}/psql" /usr/lib/postgresql/*/bin/psql; do
        if [[ -x $candidate ]]; then
            echo "$candidate"
            return
        fi
    done
    fail "there is no psql"
}

http_port=$(free_port) postgres_port=$(free_port) redis_port=$(free_port) nats_port=$(free_port)
title="Verified at $(date +%s)"

git clone --quiet . "$work/freshet"
say "cloned $(git rev-parse --short HEAD); make run"
began=$SECONDS
start make run
await 900 ready || fail "it was not ready within 900 s"
say "ready after $((SECONDS - began)) s, build included"

shows /blogs/1 '^Cache-Status:.*fwd=miss' || fail "the first read of /blogs/1 is no miss: $(get /blogs/1 | head -n 20)"
shows /blogs/1 '^Cache-Status:.*hit' || fail "the second read of /blogs/1 is no hit: $(get /blogs/1 | head -n 20)"
say "GET /blogs/1: a miss, then a hit"

database_url=$(sed -n "s/^\(export \)\{0,1\}DATABASE_URL=//p" "$work/freshet/.freshet/dev.env" | tr -d "\"'")
[[ -n $database_url ]] || fail "dev.env names no DATABASE_URL"
psql=$(find_psql)
"$psql" -X -q -v ON_ERROR_STOP=1 "$database_url" -c "UPDATE blogs SET title = '$title' WHERE id = 1" >>"$log" 2>&1 ||
    fail "psql could not update the row"
await 5 shows /blogs/1 "$title" || fail "the new title was not served within 5 s"
say "UPDATE by psql: the next read shows the new title"

# make itself would die of a Ctrl-C's SIGINT whatever its child does: signal the child.
child=$(sed -n 's/^PPid:[[:space:]]*//p; s/^Pid:[[:space:]]*/pid /p' /proc/[0-9]*/status 2>/dev/null |
    awk -v parent="$job" '$1 == "pid" { pid = $2; next } $1 == parent { print pid }')
[[ -n $child ]] || fail "make has no child"
kill -INT "$child"
stopped
say "SIGINT: status 0, nothing left running"

began=$SECONDS
start bin/freshet dev
await 60 ready || fail "the second start was not ready within 60 s"
shows /blogs/1 "$title" || fail "the second start has lost the row"
kill -INT -- "-$job" # as Ctrl-C does: the whole process group
stopped
say "a second start goes on with the same data; Ctrl-C stops it"
