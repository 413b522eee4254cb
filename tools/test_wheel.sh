#!/usr/bin/env bash
# Build a wheel, install it into an empty environment and train two iterations
# from there, away from the repository:
#   bash tools/test_wheel.sh [options of pip install]
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# A clean copy: builds leave files behind that later builds take along.
mkdir "$folder/source"
git ls-files -z --cached --others --exclude-standard |
    xargs -0 cp --parents -t "$folder/source"

unset PYTHONPATH
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" wheel --no-deps -w "$folder" "$folder/source"
wheel=$(echo "$folder"/*.whl)
"$folder/venv/bin/pip" install "$@" "${wheel}[onedl]"

cd "$folder"
venv/bin/python - <<'PYTHON'
import os

import numpy as np
from PIL import Image

os.mkdir('images')
rng = np.random.default_rng(0)
for i in range(4):
    pixels = rng.integers(0, 256, (40, 40, 3), np.uint8)
    Image.fromarray(pixels).save(f'images/{i}.png')
PYTHON
venv/bin/mmdino train dino_resnet10_images --no-validate \
    --work-dir run --cfg-options \
    data_root=images \
    train_dataloader.batch_size=2 \
    train_dataloader.num_workers=0 \
    model.head.out_dim=16 \
    train_cfg.max_epochs=1 \
    param_scheduler.warmup_epochs=0
test -f run/epoch_1.pth
echo "The wheel trains: $(basename "$wheel")"
