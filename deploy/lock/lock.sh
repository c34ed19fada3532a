#!/usr/bin/env bash
# Compiles requirements.txt, requirements-dev.txt and bench/graph_peers.txt (`make lock`): every version pinned, every file hashed, no host named.
set -euo pipefail
cd "$(dirname "$0")/../.."
unset PIP_FIND_LINKS UV_FIND_LINKS
compile() { uv pip compile --quiet --no-header --no-annotate --universal --python-version 3.11 --generate-hashes "$@"; }
weights=$(compile --no-deps deploy/lock/weights.in)
for target in requirements requirements-dev; do
  extra=(); [[ $target == requirements-dev ]] && extra=(--extra dev --constraint requirements.txt)
  locked=$(compile pyproject.toml deploy/lock/build.in "${extra[@]}")
  {
    echo "# Made by \`make lock\`. Install with: pip install --no-deps --require-hashes -r $target.txt"
    printf '%s\n%s\n' "$locked" "$weights"
  } > "$target.txt"
done
peers=$(compile deploy/lock/peers.in)
printf '%s\n%s\n' "# Made by \`make lock\`; \`make bench-retrieval\` installs it into an environment of its own." "$peers" > bench/graph_peers.txt
