# To be sourced. `train_toolbox PACKAGE EXTRA SCRIPT ARGUMENTS...` trains by a
# config of a sister toolbox; it prints SCRIPT's head if arguments are missing.

train_toolbox() {
    local package=$1 extra=$2 script=$3 tools config checkpoint processes
    shift 3
    if [ $# -lt 3 ]; then
        sed -n '2,6s/^# //p' "$script"
        return 1
    fi
    is_installed "$package" || {
        echo "$package is missing: pip install -e '.[$extra]'" >&2
        return 1
    }
    config=$1 checkpoint=$2 processes=$3
    shift 3
    tools=$(cd "$(dirname "$script")/.." && pwd)
    exec bash "$tools/dist_train.sh" "$config" "$processes" \
        --cfg-options "model.backbone.init_cfg.checkpoint=$checkpoint" "$@"
}

is_installed() {
    "${PYTHON:-python}" -c 'import sys
from importlib.util import find_spec
sys.exit(find_spec(sys.argv[1]) is None)' "$1"
}
