#!/bin/sh
# Installs, on Debian or Ubuntu and as root, what the tests start privately: RabbitMQ, PostgreSQL, Dovecot, Postfix,
# chromium with fonts for the scripts our tests write in, strace and libfaketime. Nothing is started or enabled: a policy-rc.d that answers 101 ("not allowed",
# see invoke-rc.d(8)) is in place while packages are configured. Run it as often as you like; what is there is left alone.
set -eu

say() { printf '%s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }

wanted=""
want() { wanted="$wanted $*"; }
has_font() { have fc-list && [ -n "$(fc-list ":lang=$1" family 2>/dev/null | head -n 1)" ]; }

[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || want rabbitmq-server
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || want postgresql
[ -x /usr/sbin/dovecot ] && [ -x /usr/lib/dovecot/imap ] || want dovecot-imapd
have openssl || want openssl
have postfix || want postfix
have chromium || want chromium
has_font ru || want fonts-dejavu-core
has_font zh-tw || want fonts-wqy-zenhei
have ps || want procps
have setpriv || want util-linux
# What the fault tests break processes with (make chaos).
have strace || want strace
ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || want libfaketime

if [ -z "$wanted" ]; then
    say "RabbitMQ, PostgreSQL, Dovecot, Postfix, chromium, strace and libfaketime are installed"
    exit 0
fi
if ! have apt-get; then
    say "This machine has no apt-get. Install by its own means:$wanted"
    exit 1
fi
if [ "$(id -u)" != 0 ]; then
    say "Run as root to install:$wanted   (sudo sh deploy/setup-debian.sh)"
    exit 1
fi

policy=/usr/sbin/policy-rc.d
kept=""
log=$(mktemp)
restore() {
    if [ -n "$kept" ]; then mv -f "$kept" "$policy"; else rm -f "$policy"; fi
    rm -f "$log"
}
if [ -e "$policy" ] || [ -L "$policy" ]; then
    kept=$policy.before-frontdesk
    mv -f "$policy" "$kept"
fi
trap restore EXIT
trap 'exit 1' HUP INT TERM
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"

# A first cluster would be created, and enabled at boot, by the PostgreSQL packages; the tests create their own.
if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    mkdir -p /etc/postgresql-common
    printf 'create_main_cluster = false\nstart_conf = manual\n' >/etc/postgresql-common/createcluster.conf
fi

say "Installing$wanted ..."
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 UCF_FORCE_CONFFOLD=1
# shellcheck disable=SC2086  # a list of words on purpose
if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends -o Dpkg::Options::=--force-confold $wanted; } >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    say "apt-get could not install:$wanted"
    exit 1
fi
# These packages enable their units at installation; a machine that only runs tests should not start them at boot.
disable() { if have systemctl; then systemctl disable "$@" >/dev/null 2>&1 || true; fi; }
case " $wanted " in *" rabbitmq-server "*) disable rabbitmq-server ;; esac
case " $wanted " in *" dovecot-imapd "*) disable dovecot.service dovecot.socket ;; esac
case " $wanted " in *" postfix "*) disable postfix ;; esac
say "Installed$wanted; no service was started"
