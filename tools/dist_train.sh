#!/usr/bin/env bash
# Several processes on this node, or on this one of several:
#   bash tools/dist_train.sh CONFIG PROCESSES [options of tools/train.py]
# Environment: NNODES, NODE_RANK, MASTER_ADDR, PORT, PYTHON. With MAX_RESTARTS
# and --resume a job that lost a process goes on by itself, so many times.
# SIGTERM, SIGINT or SIGUSR1 to it: all processes save and stop.
set -euo pipefail

if [ $# -lt 2 ]; then
    sed -n '2,6s/^# //p' "$0"
    exit 1
fi
ARGS=("$1")
PROCESSES=$2
shift 2

MASTER_ADDR=${MASTER_ADDR:-127.0.0.1}
PORT=${PORT:-29500}
if [ "${MAX_RESTARTS:-0}" -gt 0 ]; then
    # A new store for each attempt: in an old one the processes would find the
    # addresses of dead ones and wait for them.
    export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
    RENDEZVOUS=(--rdzv_backend=c10d --rdzv_id="${JOB_ID:-mmdino}"
        --rdzv_endpoint="$MASTER_ADDR:$PORT"
        --rdzv_conf="is_host=$((${NODE_RANK:-0} == 0))"
        --max_restarts="$MAX_RESTARTS")
    if [ "${NNODES:-1}" = 1 ]; then
        RENDEZVOUS+=(--local_addr="$MASTER_ADDR")
    fi
else
    RENDEZVOUS=(--node_rank="${NODE_RANK:-0}" --max_restarts=0
        --master_addr="$MASTER_ADDR" --master_port="$PORT")
fi

ROOT=$(cd "$(dirname "$0")/.." && pwd)
PYTHONPATH="$ROOT:${PYTHONPATH:-}" exec "${PYTHON:-python}" \
    "$ROOT/tools/launch.py" \
    --nnodes="${NNODES:-1}" \
    --nproc_per_node="$PROCESSES" \
    "${RENDEZVOUS[@]}" \
    "$ROOT/tools/train.py" "${ARGS[@]}" --launcher pytorch "$@"
