#!/bin/sh
# Prepares what `make` needs. Usage: sh deploy/bootstrap.sh venv | dev | services
#   venv      .venv with Frontdesk and all its extras
#   dev       the tools that tests and linting need, into the same .venv
#   services  RabbitMQ, PostgreSQL and chromium for the tests: installed on Debian as root, named elsewhere
set -eu
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
debian_root() { [ "$(id -u)" = 0 ] && have apt-get; }

# PY=/path/to/python in the environment decides; otherwise the first of these that is 3.11 or newer.
find_python() {
    for candidate in ${PY:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if have "$candidate" && new_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    [ -z "${PY:-}" ] || fail "PY=$PY is not Python 3.11 or newer"
    found=$(python3 --version 2>/dev/null || echo "no python3")
    fail "Frontdesk needs Python 3.11 or newer; this machine has $found. Install one, or name it: make demo PY=/path/to/python"
}

make_venv() {
    python=$(find_python) || exit 1
    log=$(mktemp)
    if ! "$python" -m venv .venv >"$log" 2>&1; then
        rm -rf .venv
        # Debian ships venv without ensurepip; the missing half is a package named after the Python version.
        package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        if ! grep -qi ensurepip "$log"; then
            cat "$log" >&2
            fail "$python could not make a virtual environment in .venv"
        fi
        debian_root || fail "$python cannot make a virtual environment: install $package (Debian, Ubuntu: sudo apt-get install $package) and try again"
        say "Installing Debian's $package ..."
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package"; } \
            >"$log" 2>&1 || { cat "$log" >&2; fail "could not install $package"; }
        "$python" -m venv .venv
    fi
    rm -f "$log"
}

install_package() {
    if ! .venv/bin/python -m pip --version >/dev/null 2>&1 || ! new_enough .venv/bin/python; then
        rm -rf .venv
        make_venv
    fi
    say "Installing Frontdesk into .venv (a minute or so, once) ..."
    # --group, which `dev` uses, came with pip 25.1; an offline machine with a newer pip never asks for one.
    .venv/bin/python -m pip install -q --disable-pip-version-check "pip>=25.1"
    .venv/bin/python -m pip install -q --disable-pip-version-check -e '.[all]'
    touch .venv/.installed
}

install_dev() {
    say "Installing the development tools into .venv ..."
    .venv/bin/python -m pip install -q --disable-pip-version-check --group dev
    touch .venv/.installed-dev
}

# The tests start servers of their own from these programs; they never touch one that is already running.
has_rabbitmq() { [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || have rabbitmq-server; }
has_postgres() { ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || have postgres; }
has_chromium() { have chromium || have chromium-browser; }

services() {
    if debian_root; then
        sh deploy/setup-debian.sh
        return
    fi
    has_rabbitmq || say "rabbitmq-server is not installed: tests and figures that need RabbitMQ are skipped"
    has_postgres || say "postgresql is not installed: tests and figures that need PostgreSQL are skipped"
    has_chromium || say "chromium is not installed: tests in a browser are skipped"
}

case "${1:-}" in
    venv) install_package ;;
    dev) install_dev ;;
    services) services ;;
    *) fail "usage: sh deploy/bootstrap.sh venv | dev | services" ;;
esac
