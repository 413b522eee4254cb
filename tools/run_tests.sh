#!/usr/bin/env bash
# Install the test extras and run the tests:
#   bash tools/run_tests.sh [--slow] [options of pytest]
# --slow adds those that take minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/venv.sh

use_venv onedl,tests
# More threads than free cores slow tiny tensors down a hundredfold.
export OMP_NUM_THREADS=1
# A file stays in one process, for its fixtures.
exec python -m pytest -n auto --dist loadfile "$@"
