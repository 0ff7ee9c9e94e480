#!/bin/sh
# Makes sure that what Freshet's build, tests and `freshet dev` need is on this
# machine: a new enough Go, a C compiler, Postgres' server programs, and a Redis or
# Valkey server. With the argument "tests" also a Chromium, in which the page is
# tested, and a Prometheus, in which alerts and dashboard are; nothing else needs them.
#
# Postgres, Redis, Chromium and Prometheus are installed with apt where that needs no password;
# anything else that is missing is named in one message, and the exit status is 1. With
# nothing to do it prints nothing. It starts no service and leaves none enabled
# that was not there before: Freshet runs servers of its own, on its own ports.
set -eu

cd "$(dirname "$0")/.."

# has NAME: is there a program of that name?
has() { command -v "$1" >/dev/null 2>&1; }

# has_postgres: are the server programs where `freshet dev` and the tests look?
has_postgres() {
    if [ -n "${FRESHET_PG_BIN:-}" ]; then
        [ -x "$FRESHET_PG_BIN/postgres" ] && [ -x "$FRESHET_PG_BIN/initdb" ]
        return
    fi
    has postgres && has initdb && return
    for bin in /usr/lib/postgresql/*/bin; do
        [ -x "$bin/postgres" ] && [ -x "$bin/initdb" ] && return
    done
    return 1
}

# has_browser: is there one where the tests look?
has_browser() { has chromium || has chromium-browser || has google-chrome || has google-chrome-stable; }

has_prometheus() { has prometheus && has promtool; }

has_redis() { has redis-server || has valkey-server; }

# has_compiler: cgo and the race detector need one.
has_compiler() { has "${CC:-gcc}" || has cc; }

# wanted_go: the version in go.mod, such as 1.26.0.
wanted_go() { sed -n 's/^go //p' go.mod; }

# has_go: is the Go that would build this module at least go.mod's? Asked here and
# not of PATH alone: with GOTOOLCHAIN=auto an older go fetches the right one.
has_go() {
    has go || return 1
    current=$(go env GOVERSION 2>/dev/null) || return 1
    current=${current#go}
    current=${current%% *}
    oldest=$(printf '%s\n%s\n' "$(wanted_go)" "$current" | sort -V | head -n 1)
    [ "$oldest" = "$(wanted_go)" ]
}

# find_missing sets $missing to what is not there, one word each.
find_missing() {
    missing=
    has_go || missing="$missing go"
    has_compiler || missing="$missing gcc"
    has_postgres || missing="$missing postgres"
    has_redis || missing="$missing redis"
    [ "$tests" = no ] || has_browser || missing="$missing chromium"
    [ "$tests" = no ] || has_prometheus || missing="$missing prometheus"
}

# lacks WORD: is it in $missing?
lacks() { case " $missing " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }

# may_be_root sets $as_root to what runs a command as root, if anything does
# without asking for a password.
may_be_root() {
    as_root=
    [ "$(id -u)" -eq 0 ] && return
    as_root="sudo -n"
    has sudo && sudo -n true 2>/dev/null
}

# put FILE MODE TEXT writes a file for the time of the installation, and notes it
# for clean_up. A file that is there already is somebody's and stays as it is.
put() {
    [ ! -e "$1" ] || return 0
    ours="$ours $1"
    $as_root mkdir -p "$(dirname "$1")"
    printf '%s\n' "$3" | $as_root tee "$1" >/dev/null
    $as_root chmod "$2" "$1"
}

clean_up() {
    # shellcheck disable=SC2086 # a list of paths without blanks
    [ -z "$ours" ] || $as_root rm -f $ours
    rm -f "$log"
}

# service_is_known NAME: is there such a service on this machine?
service_is_known() {
    [ -e "/lib/systemd/system/$1.service" ] || [ -e "/etc/systemd/system/$1.service" ] || [ -e "/etc/init.d/$1" ]
}

# silence NAME stops a service and keeps it from being started at boot. The
# package has enabled it even though policy-rc.d kept it from being started.
silence() {
    if [ -d /run/systemd/system ]; then
        $as_root systemctl disable --now --quiet "$1.service" || :
    fi
    # Without a running systemd too: an image may be booted later.
    if has update-rc.d || [ -x /usr/sbin/update-rc.d ]; then
        $as_root env PATH="$PATH:/usr/sbin:/sbin" update-rc.d "$1" disable >/dev/null 2>&1 || :
    fi
}

# apt_get runs apt-get as root without questions, and without needrestart, which
# would restart services that have nothing to do with us.
apt_get() {
    $as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
        apt-get -y -q -o DPkg::Lock::Timeout=300 "$@" >>"$log" 2>&1 </dev/null
}

# can_install WORD: is it missing, and is it ours to install? Not a Postgres for
# somebody who has named the folder of his own.
can_install() {
    case $1 in
    postgres) lacks postgres && [ -z "${FRESHET_PG_BIN:-}" ] ;;
    redis) lacks redis ;;
    chromium) lacks chromium ;;
    prometheus) lacks prometheus ;;
    *) return 1 ;;
    esac
}

# install_with_apt installs what it can of $missing.
install_with_apt() {
    ours=
    log=$(mktemp)
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM

    # The package lists may be absent (containers) or old. If they cannot be
    # fetched, those that are there may still do.
    apt_get update || :
    packages=
    if can_install postgres; then
        packages="$packages postgresql"
    fi
    if can_install redis; then
        if apt-cache policy redis-server 2>/dev/null | grep -q 'Candidate: [0-9]'; then
            packages="$packages redis-server"
        else
            packages="$packages valkey-server"
        fi
    fi
    # Ubuntu has no such package that works without snap; then explain says what to do.
    if can_install chromium && apt-cache policy chromium 2>/dev/null | grep -q 'Candidate: [0-9]'; then
        packages="$packages chromium"
    fi
    if can_install prometheus; then
        packages="$packages prometheus"
    fi
    [ -n "$packages" ] || return 0
    echo "setup: installing with apt:$packages" >&2

    before=
    for service in postgresql redis-server valkey-server prometheus; do
        if service_is_known "$service"; then
            before="$before $service"
        fi
    done
    # invoke-rc.d(8): 101 means that the action is not allowed.
    put /usr/sbin/policy-rc.d 755 '#!/bin/sh
exit 101'
    # pg_createcluster(1): the package makes a cluster of its own otherwise.
    put /etc/postgresql-common/createcluster.d/freshet-setup.conf 644 'create_main_cluster = false'

    # shellcheck disable=SC2086 # a list of package names
    if ! apt_get install --no-install-recommends $packages; then
        echo "setup: apt-get could not install$packages; its last words:" >&2
        tail -n 5 "$log" | sed 's/^/    /' >&2
    fi
    for service in postgresql redis-server valkey-server prometheus; do
        case " $before " in *" $service "*) continue ;; esac
        if service_is_known "$service"; then
            silence "$service"
        fi
    done
}

# explain says what to install by hand and ends the script.
explain() {
    apt='' dnf='' brew='' other=''
    if lacks go; then
        other="$other
  Go $(wanted_go) or newer: https://go.dev/doc/install"
        if has go; then
            other="$other (found: $(GOTOOLCHAIN=local go version 2>&1 | head -n 1))"
        fi
    fi
    if lacks gcc; then apt="$apt gcc libc6-dev" dnf="$dnf gcc" brew="$brew gcc"; fi
    if lacks postgres; then
        apt="$apt postgresql" dnf="$dnf postgresql-server" brew="$brew postgresql@17"
        if [ -n "${FRESHET_PG_BIN:-}" ]; then
            other="$other
  FRESHET_PG_BIN is $FRESHET_PG_BIN, where postgres and initdb are not: correct or unset it"
        else
            other="$other
  Postgres elsewhere: set FRESHET_PG_BIN to the folder that holds postgres and initdb"
        fi
    fi
    if lacks redis; then apt="$apt redis-server" dnf="$dnf valkey" brew="$brew valkey"; fi
    if lacks chromium; then
        apt="$apt chromium" dnf="$dnf chromium"
        other="$other
  Chromium on macOS: brew install --cask chromium"
    fi
    if lacks prometheus; then
        apt="$apt prometheus" dnf="$dnf golang-github-prometheus" brew="$brew prometheus"
    fi

    {
        echo "setup: missing:$missing. Please install:"
        if [ -n "$apt" ]; then
            echo "  Debian, Ubuntu: sudo apt-get install$apt"
            echo "  Fedora:         sudo dnf install$dnf"
            echo "  macOS:          brew install$brew"
        fi
        if [ -n "$other" ]; then
            echo "${other#?}"
        fi
    } >&2
    exit 1
}

tests=no
[ "${1:-}" != tests ] || tests=yes
find_missing
[ -n "$missing" ] || exit 0
if can_install postgres || can_install redis || can_install chromium || can_install prometheus; then
    if has apt-get && may_be_root; then
        install_with_apt
        find_missing
    fi
fi
[ -z "$missing" ] || explain
