# To be sourced. `use_venv EXTRAS` activates VENV (.venv) with mmdino[EXTRAS] in
# it: makes it at first, installs what is missing, reuses it once it is
# complete. PYTHON chooses the interpreter, 3.10 or newer.

use_venv() {
    local extras=$1 venv=${VENV:-.venv} stamp
    stamp="$venv/.mmdino-$extras-$(cksum <setup.cfg | cut -d' ' -f1)"
    if [ ! -e "$stamp" ]; then
        [ -x "$venv/bin/python" ] || "$(find_python)" -m venv "$venv"
        echo "Installing mmdino[$extras] into $venv: at first about 5 GB."
        "$venv/bin/python" -m pip install --upgrade pip
        "$venv/bin/python" -m pip install -e ".[$extras]"
        "$venv/bin/python" -c 'import mmdino.models'
        touch "$stamp"
    fi
    # shellcheck disable=SC1091
    source "$venv/bin/activate"
}

find_python() {
    local python
    for python in ${PYTHON:-python3 python3.13 python3.12 python3.11 \
        python3.10}; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
            2>/dev/null; then
            command -v "$python"
            return
        fi
    done
    echo "mmdino needs Python 3.10 or newer: set PYTHON to one." >&2
    return 1
}
