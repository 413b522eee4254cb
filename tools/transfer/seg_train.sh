#!/usr/bin/env bash
# Train a segmentor of mmseg on a pretrained backbone, in one process or more:
#   bash tools/transfer/seg_train.sh CONFIG CHECKPOINT PROCESSES \
#       [SETTING=VALUE ...] [options of tools/train.py]
# Environment: as tools/dist_train.sh's.
set -euo pipefail
source "$(dirname "$0")/train_toolbox.sh"

train_toolbox mmseg seg "$0" "$@"
