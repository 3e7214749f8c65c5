# Sourced by the scripts, from the root of the checkout: where private things live, and how the build finds them.
TIDEMILL_CACHE="${TIDEMILL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tidemill}"
TIDEMILL_VENV="${TIDEMILL_VENV:-$TIDEMILL_CACHE/venv}"
CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$TIDEMILL_CACHE/target}"
TIDEMILL_DATA="${TIDEMILL_DATA:-$TIDEMILL_CACHE/data}"
# The SDK and the Python worker are used from the checkout.
TIDEMILL_PYTHON="${TIDEMILL_PYTHON:-$TIDEMILL_VENV/bin/python}"
PYTHONPATH="$PWD/workers/python/src${PYTHONPATH:+:$PYTHONPATH}"
TIDEMILL_PYTHON_PACKAGE="$PWD/workers/python/src"
# Python with the clients that tests ask our servers by.
TIDEMILL_CLIENTS_PYTHON="${TIDEMILL_CLIENTS_PYTHON:-$TIDEMILL_CACHE/clients/bin/python}"
# The prebuilt DuckDB library, for test binaries; the program itself knows where it is.
LD_LIBRARY_PATH="$TIDEMILL_CACHE/deps/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export TIDEMILL_PYTHON TIDEMILL_CLIENTS_PYTHON TIDEMILL_PYTHON_PACKAGE PYTHONPATH LD_LIBRARY_PATH TIDEMILL_CACHE TIDEMILL_VENV TIDEMILL_DATA CARGO_TARGET_DIR
# `tidemill`, once it is built.
PATH="$CARGO_TARGET_DIR/debug:$PATH"
[ -d "$HOME/.cargo/bin" ] && PATH="$HOME/.cargo/bin:$PATH"
export PATH
