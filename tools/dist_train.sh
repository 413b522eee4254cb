#!/usr/bin/env bash
# Several processes on this node, or on this one of several:
#   bash tools/dist_train.sh CONFIG PROCESSES [options of tools/train.py]
# Environment: NNODES, NODE_RANK, MASTER_ADDR, PORT, PYTHON. With MAX_RESTARTS
# and --resume a job that lost a process goes on by itself, so many times.
set -euo pipefail

if [ $# -lt 2 ]; then
    sed -n '2,5s/^# //p' "$0"
    exit 1
fi
ARGS=("$1")
PROCESSES=$2
shift 2

ROOT=$(cd "$(dirname "$0")/.." && pwd)
PYTHONPATH="$ROOT:${PYTHONPATH:-}" exec "${PYTHON:-python}" \
    -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$PROCESSES" \
    --max_restarts="${MAX_RESTARTS:-0}" \
    "$ROOT/tools/train.py" "${ARGS[@]}" --launcher pytorch "$@"
