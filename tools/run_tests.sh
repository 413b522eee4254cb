#!/usr/bin/env bash
# Install the test extras and run the tests:
#   bash tools/run_tests.sh [--openmmlab] [--slow] [options of pytest]
# --slow adds those that take minutes. --openmmlab runs those of the core with
# the original distributions, in an environment of their own, .venv-openmmlab.
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/venv.sh

if [ "${1:-}" = --openmmlab ]; then
    shift
    VENV=.venv-openmmlab use_venv openmmlab,core_tests
    set -- --ignore=tests/transfer "$@"
else
    use_venv onedl,tests
fi
# More threads than free cores slow tiny tensors down a hundredfold.
export OMP_NUM_THREADS=1
# A file stays in one process, for its fixtures.
exec python -m pytest -n auto --dist loadfile "$@"
