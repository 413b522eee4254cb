#!/usr/bin/env bash
# Install, pretrain a small ViT with DINO, evaluate it, draw what it sees:
#   bash tools/quickstart.sh [--data DIR] [--work-dir DIR] [--epochs N]
set -euo pipefail
START=$PWD
cd "$(dirname "$0")/.."
source tools/venv.sh

use_venv onedl
ROOT=$PWD
cd "$START"
exec python "$ROOT/tools/quickstart.py" "$@"
