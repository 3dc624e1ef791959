#!/bin/sh
# Make .venv with fastcart and all that tests, linters and notebooks need. Quick where nothing changed.
# numbalsoda is on PyPI as source only: its build needs a Fortran and a C++ compiler.
set -eu
cd "$(dirname "$0")/.."

venv=.venv
stamp=$venv/.fastcart-ready
key="$(pwd) $(cksum <pyproject.toml)"

# Where Python may not write bytecode by itself (PYTHONDONTWRITEBYTECODE, as in many containers), every
# import of an editable installation would translate its source anew, which takes a fifth of a second.
to_bytecode() { $venv/bin/python -m compileall -q fastcart || true; }

if [ -x $venv/bin/python ] && [ -f $stamp ] && [ "$(cat $stamp)" = "$key" ] &&
    $venv/bin/python -c 'import fastcart, pytest' 2>/dev/null; then
    to_bytecode
    exit 0
fi

if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "fastcart needs python3 of version 3.11 or later; install it and run make again." >&2
    exit 1
fi

missing=""
command -v gfortran >/dev/null 2>&1 || missing="$missing gfortran"
command -v g++ >/dev/null 2>&1 || missing="$missing g++"
python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
if [ -n "$missing" ]; then
    sudo=""
    if [ "$(id -u)" != 0 ]; then sudo="sudo -n"; fi
    if command -v apt-get >/dev/null 2>&1 && $sudo true 2>/dev/null; then
        echo "Installing with apt-get:$missing"
        $sudo apt-get update -qq
        # shellcheck disable=SC2086
        DEBIAN_FRONTEND=noninteractive $sudo apt-get install -qq -y --no-install-recommends $missing
    else
        echo "fastcart needs$missing to build numbalsoda; install them with the system's package" \
            "manager (Debian: apt-get install$missing), or get compilers from conda-forge" \
            "(conda install -c conda-forge gfortran gxx, in an active environment), and run make again." >&2
        exit 1
    fi
fi

echo "Setting up $venv (a few minutes the first time) ..."
if ! $venv/bin/python -c 'import pip' 2>/dev/null || [ ! -f $stamp ] ||
    [ "$(cut -d' ' -f1 $stamp)" != "$(pwd)" ]; then
    rm -rf $venv
    python3 -m venv $venv
fi
rm -f $stamp
$venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
to_bytecode
printf '%s' "$key" >$stamp
echo "Compiling what all models share (a minute or two) ..."
$venv/bin/fastcart compile 2>/dev/null || true # each model would else do so for itself
echo "Done. For a shell: source $venv/bin/activate"
