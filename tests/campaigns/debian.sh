#!/usr/bin/env bash
# Runs the tests with the Python of another Debian release, in a chroot: tests/campaigns/debian.sh trixie [pytest arguments]
# Needs root, debootstrap and some 2 GB below TMPDIR. The chroot stays for the next run; remove its directory when you are done.
set -euo pipefail

release=${1:?which release of Debian, such as trixie (Python 3.13)?}
shift
project=$(cd "$(dirname "$0")/../.." && pwd)
root=${TMPDIR:-/tmp}/pytest-dogfood-$release

if [ ! -e "$root/ready" ]; then
  debootstrap --variant=minbase --include=python3,python3-venv,git,make,ca-certificates "$release" "$root"
  touch "$root/ready"
fi
for place in proc sys dev dev/pts; do
  mountpoint -q "$root/$place" || mount --bind "/$place" "$root/$place"
done
trap 'for place in dev/pts dev sys proc; do umount "$root/$place"; done' EXIT
cp /etc/resolv.conf "$root/etc/resolv.conf"
# Behind a proxy, pip needs the certificates of this machine.
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
unset PIP_FIND_LINKS PIP_CERT
export LANG=C.UTF-8

rm -rf "$root/project"
git clone -q "$project" "$root/project"
chroot "$root" bash -euo pipefail -c '
  cd /project
  python3 -m venv .venv-test
  .venv-test/bin/pip install -q -e ".[test]"
  .venv-test/bin/python --version
  .venv-test/bin/pytest -n auto --dist loadfile "$@"
' bash "$@"
