#!/bin/sh
# Install the mail programs that tests and the bench talk to, where that is possible:
# Debian or Ubuntu, as root. Postfix is installed without a configuration, so that it does
# not start to listen: tests run private instances of their own.
set -eu

missing=""
for program in postfix swaks curl strace; do
    PATH="$PATH:/usr/sbin" command -v "$program" >/dev/null 2>&1 || missing="$missing $program"
done
if [ -z "$missing" ]; then
    echo "Postfix, swaks, curl and strace are here."
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "Missing:$missing. Installing them needs root and apt-get;" \
        "run 'sudo make peers', or install them yourself." >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
case "$missing" in *postfix*)
    echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections ;;
esac
apt-get update -qq
# The names of the programs are the names of their packages.
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing >/dev/null
echo "Installed:$missing."
