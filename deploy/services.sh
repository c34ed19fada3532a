#!/usr/bin/env bash
# Makes the servers and the browser that tests marked `services` need available on a Debian machine.
set -euo pipefail
case "${1:-start}" in
  start)
    if ! command -v chromium >/dev/null; then
      command -v apt-get >/dev/null || { echo "services: install Chromium by hand; this script knows only apt-get" >&2; exit 1; }
      apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null
    fi
    chromium --version
    ;;
  stop) echo "services: nothing runs" ;;
  *) echo "usage: $0 start|stop" >&2; exit 2 ;;
esac
