#!/bin/sh
# The first of the two commands: installs packages, builds, and runs the filtering smarthost on
# loopback, with an internal server behind it and four filters in front.  Arguments go to demo.py.
set -eu
cd "$(dirname "$0")/.."
contrib/packages.sh
cmake --preset release
cmake --build --preset release --target millrace plugins
exec /usr/bin/python3 contrib/demo.py --millrace build/release/millrace "$@"
