#!/usr/bin/env bash
# One task for each GPU, on one or several nodes:
#   bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG [options of tools/train.py]
# To save before the time limit and go on in the next job:
#   SRUN_ARGS='--time=24:00:00 --signal=USR1@300' \
#       bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG --resume
# Slurm then signals the processes 300 s before the end; they save
# interrupted.pth after their step and stop. So they do on SIGTERM
# (preemption, scancel), if that fits into slurm's KillWait, by default 30 s.
# Environment: GPUS, GPUS_PER_NODE, CPUS_PER_TASK, SRUN_ARGS, PYTHON.
set -euo pipefail

if [ $# -lt 3 ]; then
    sed -n '2,10s/^# //p' "$0"
    exit 1
fi
PARTITION=$1
JOB_NAME=$2
CONFIG=$3
shift 3
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-$((GPUS < 8 ? GPUS : 8))}

ROOT=$(cd "$(dirname "$0")/.." && pwd)
# SRUN_ARGS is split into words on purpose.
# shellcheck disable=SC2086
PYTHONPATH="$ROOT:${PYTHONPATH:-}" exec srun -p "$PARTITION" \
    --job-name="$JOB_NAME" \
    --gres="gpu:$GPUS_PER_NODE" \
    --ntasks="$GPUS" \
    --ntasks-per-node="$GPUS_PER_NODE" \
    --cpus-per-task="${CPUS_PER_TASK:-10}" \
    --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$ROOT/tools/train.py" "$CONFIG" \
    --launcher slurm "$@"
