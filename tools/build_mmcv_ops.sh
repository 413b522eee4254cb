#!/usr/bin/env bash
# Install mmcv with its compiled operators, which mmdet needs, into the active
# environment (or that of PYTHON): built from onedl-mmcv's source against the
# torch in use, 25 to 45 minutes on two cores. The wheel is kept in
# MMDINO_CACHE (~/.cache/mmdino) by torch's and Python's version and used again.
#   bash tools/build_mmcv_ops.sh
set -euo pipefail
python=${PYTHON:-python}
requirement=${MMCV:-onedl-mmcv>=2.3.6}

# E.g. torch-2.14.1+cu130-cp311: another torch would not load the operators.
key=$("$python" -c 'import sys, torch
print(f"torch-{torch.__version__}-cp{sys.version_info[0]}{sys.version_info[1]}")')
cache=${MMDINO_CACHE:-$HOME/.cache/mmdino}/mmcv-ops/$key

mkdir -p "$cache"

# The binary wheel's name has a platform in it, the pure one's ends in -any.
find_wheel() {
    find "$cache" -maxdepth 1 -name '*mmcv*-linux_*.whl' | head -n 1
}

wheel=$(find_wheel)
if [ -z "$wheel" ]; then
    "$python" -m pip install 'setuptools>=77,<82' wheel ninja psutil
    building=$(mktemp -d "$cache/building.XXXXXX")
    trap 'rm -rf "$building"' EXIT
    echo "Building mmcv's operators for $key into $cache: 25 to 45 minutes."
    # Torch's headers want C++20 and mmcv's setup says C++17: the last one wins.
    printf '#!/bin/sh\nexec %s "$@" -std=c++20\n' "${CXX:-c++}" \
        >"$building/c++"
    chmod +x "$building/c++"
    # No cache of pip's: it would reuse a wheel without operators.
    CXX=$building/c++ MMCV_WITH_OPS=1 MAX_JOBS=${MAX_JOBS:-$(nproc)} \
        "$python" -m pip wheel --verbose --no-build-isolation \
        --no-cache-dir --no-deps --no-binary :all: \
        --wheel-dir "$building" "$requirement"
    # Renamed at the end, so that the cache never holds half a wheel.
    mv "$building"/*.whl "$cache/"
    wheel=$(find_wheel)
fi
if [ -z "$wheel" ]; then
    echo "The build gave no compiled wheel: see its output above." >&2
    exit 1
fi
"$python" -m pip install --no-deps --force-reinstall "$wheel"
"$python" -c 'import torch
from mmcv.ops import nms
boxes = torch.tensor([[0., 0., 9., 9.], [0., 0., 9., 8.]])
assert len(nms(boxes, torch.tensor([1., 0.5]), 0.5)[1]) == 1
print("mmcv.ops runs.")'
