#!/bin/sh
# Install the programs that tests and the bench talk to, where that is possible: Debian or
# Ubuntu, as root. They are mail programs, shells (for completion), mandoc (for manual pages) and
# systemd-analyze (for the unit).
# Postfix is installed without a configuration, so that it does not start to listen: tests run
# private instances of their own. Mailman goes into a virtual environment of its own below .peers,
# which needs no root but a package index; so does Haraka, which needs npm. Exim and OpenSMTPD cannot
# be installed beside Postfix: their packages are fetched into .peers/packages, and tests and the
# bench unpack them.
set -eu

MAILMAN="mailman==3.3.10"
HARAKA="Haraka@3.3.4"
PACKAGES="exim4-daemon-light libidn12 libnss-wrapper opensmtpd libevent-2.1-7"
peers="$(dirname "$0")/../.peers"
place="$peers/mailman"

install_mailman() {
    if [ -x "$place/bin/runner" ]; then
        echo "Mailman is here."
        return 0
    fi
    rm -rf "$place"
    mkdir -p "$(dirname "$place")"
    if "${PYTHON:-python3}" -m venv "$place" &&
        "$place/bin/python" -m pip install -q --disable-pip-version-check "$MAILMAN"; then
        echo "Installed: $MAILMAN in .peers."
    else
        rm -rf "$place"
        echo "Missing: $MAILMAN. It needs Python's venv module and a package index." >&2
        return 1
    fi
}

install_haraka() {
    haraka="$peers/haraka"
    if [ -f "$haraka/node_modules/Haraka/package.json" ]; then
        echo "Haraka is here."
        return 0
    fi
    if ! command -v npm >/dev/null 2>&1; then
        echo "Missing: $HARAKA, which only the bench talks to. It needs npm:" \
            "'apt-get install npm' (Node 20 or later)." >&2
        return 0
    fi
    mkdir -p "$haraka"
    # Its own scripts are not run: what they would build, Haraka does without.
    if npm install --prefix "$haraka" --silent --no-audit --no-fund --ignore-scripts "$HARAKA"; then
        echo "Installed: $HARAKA in .peers."
    else
        rm -rf "$haraka"
        echo "Missing: $HARAKA. It needs npm and its registry." >&2
    fi
}

install_programs() {
    missing=""
    for program in postfix swaks curl strace mandoc zsh fish chromium systemd-analyze gcc; do
        PATH="$PATH:/usr/sbin" command -v "$program" >/dev/null 2>&1 || missing="$missing $program"
    done
    case "$missing" in *gcc*) missing="$missing libc6-dev" ;; esac
    if [ -z "$missing" ]; then
        echo "Postfix, swaks, curl, strace, mandoc, zsh, fish, Chromium, systemd-analyze" \
            "and gcc are here."
        return 0
    fi
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        echo "Missing:$missing. Installing them needs root and apt-get;" \
            "run 'sudo make peers', or install them yourself." >&2
        return 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    case "$missing" in *postfix*)
        echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections ;;
    esac
    # The names of the programs are the names of their packages, but for one. systemd is not run.
    packages="$(echo "$missing" | sed 's/systemd-analyze/systemd/')"
    # shellcheck disable=SC2086
    apt-get update -qq && apt-get install -y -qq --no-install-recommends $packages >/dev/null ||
        return 1
    echo "Installed:$missing."
}

fetch_packages() {
    mkdir -p "$peers/packages"
    missing=""
    for package in $PACKAGES; do
        set -- "$peers/packages/$package"_*.deb
        [ -e "$1" ] || missing="$missing $package"
    done
    if [ -z "$missing" ]; then
        echo "The packages of Exim and OpenSMTPD are here."
        return 0
    fi
    # shellcheck disable=SC2086
    if (cd "$peers/packages" && apt-get download -qq $missing 2>/dev/null); then
        echo "Fetched:$missing into .peers/packages."
    else
        echo "Missing packages:$missing. Fetching them needs apt-get and its lists." >&2
        return 1
    fi
}

status=0
install_programs || status=1
fetch_packages || status=1
install_mailman || status=1
install_haraka
exit $status
