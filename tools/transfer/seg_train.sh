#!/usr/bin/env bash
# Train a segmentor of mmseg on a pretrained backbone, in one process or more:
#   bash tools/transfer/seg_train.sh CONFIG CHECKPOINT PROCESSES \
#       [SETTING=VALUE ...] [options of tools/train.py]
# Environment: as tools/dist_train.sh's.
set -euo pipefail

if [ $# -lt 3 ]; then
    sed -n '2,5s/^# //p' "$0"
    exit 1
fi
"${PYTHON:-python}" -c 'import mmseg' || {
    echo "MMSegmentation is missing: pip install -e '.[seg]'" >&2
    exit 1
}
CONFIG=$1
CHECKPOINT=$2
PROCESSES=$3
shift 3

TOOLS=$(cd "$(dirname "$0")/.." && pwd)
exec bash "$TOOLS/dist_train.sh" "$CONFIG" "$PROCESSES" \
    --cfg-options "model.backbone.init_cfg.checkpoint=$CHECKPOINT" "$@"
