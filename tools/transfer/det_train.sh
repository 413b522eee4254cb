#!/usr/bin/env bash
# Train a detector of mmdet on a pretrained backbone, in one process or more:
#   bash tools/transfer/det_train.sh CONFIG CHECKPOINT PROCESSES \
#       [SETTING=VALUE ...] [options of tools/train.py]
# Environment: as tools/dist_train.sh's.
set -euo pipefail
source "$(dirname "$0")/train_toolbox.sh"

if [ $# -ge 3 ] && is_installed mmdet &&
    ! ERROR=$("${PYTHON:-python}" -c 'import mmcv._ext' 2>&1); then
    echo "mmdet needs mmcv's compiled operators, which are missing or of" \
        "another torch (${ERROR##*$'\n'}): bash tools/build_mmcv_ops.sh" >&2
    exit 1
fi
train_toolbox mmdet det "$0" "$@"
