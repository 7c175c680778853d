#!/bin/sh
# Installs Linejudge from a folder of wheels, without a network: user, command, service, sample recipe.
set -eu

usage() {
    cat <<'TEXT'
usage: install.sh [--gpu] WHEELS

WHEELS is a folder with the wheel of linejudge and the wheels of all packages that it needs. Make it on a
machine with a network, the same Python version and the same kind of processor, in the project's folder:

    python3 -m pip wheel --wheel-dir WHEELS .

--gpu also installs what a line needs to run on an NVIDIA GPU. Make the folder where there are CUDA's toolkit,
with nvcc on the path, a compiler and Python's headers (apt install build-essential python3-dev), since pycuda
is compiled:

    python3 -m pip wheel --wheel-dir WHEELS '.[gpu,onnxruntime]'     # x86-64
    python3 -m pip wheel --wheel-dir WHEELS '.[cuda,onnxruntime]'    # Jetson: TensorRT is JetPack's own

The script makes or updates:

    linejudge                                 user and group without a login, for the service
    /opt/linejudge                            virtual environment
    /usr/local/bin/edge                       the command `edge` of that environment
    /etc/systemd/system/linejudge@.service    service; one instance for each recipe
    .../linejudge-gpu.service                 makes the device nodes of an NVIDIA GPU before a line starts
    .../linejudge-camera@.service             sends a GStreamer camera's frames to a line
    /etc/linejudge/sample.toml                sample recipe, if the file does not exist

It changes no recipe and stops no line. Run `systemctl restart linejudge@NAME` when the line may stop.
TEXT
}

gpu=''
if [ "${1:-}" = --gpu ]; then gpu=yes && shift; fi
case "${1:-}" in
-h | --help) usage && exit ;;
"" | -*) usage >&2 && exit 2 ;;
esac
wheels=$1
here=$(cd "$(dirname "$0")" && pwd)

fail() {
    echo "install.sh: $1" >&2
    exit 1
}

[ "$(id -u)" = 0 ] || fail "must run as root, since it makes a user and a service: run it with sudo"
ls "$wheels"/linejudge-*.whl >/dev/null 2>&1 || fail "$wheels: expected a wheel of linejudge, found none: see --help"
wheels=$(cd "$wheels" && pwd)
cd /  # Python would import `edge` from the project's folder
umask 022

getent passwd linejudge >/dev/null ||
    useradd --system --user-group --home-dir /var/lib/linejudge --shell /usr/sbin/nologin linejudge
# The groups give access to V4L2 cameras, GPUs, serial ports and USB cameras. The service does not start without those
# that it names.
for group in video render dialout; do
    getent group "$group" >/dev/null || groupadd --system "$group"
done
for group in video render dialout plugdev; do
    if getent group "$group" >/dev/null; then usermod --append --groups "$group" linejudge; fi
done

# On a Jetson TensorRT for Python is one of the system's packages: the one of PyPI is for other GPUs.
extras='' system=''
if [ -n "$gpu" ]; then
    extras='[gpu,onnxruntime]'
    if [ -e /etc/nv_tegra_release ]; then extras='[cuda,onnxruntime]' system=--system-site-packages; fi
fi
if [ -n "$system" ]; then
    python3 -m venv "$system" /opt/linejudge  # lets an environment that is there see them from now on
elif [ ! -x /opt/linejudge/bin/python ]; then
    python3 -m venv /opt/linejudge
fi
/opt/linejudge/bin/python -m pip install --quiet --disable-pip-version-check --no-index --find-links "$wheels" \
    --upgrade "linejudge$extras"
if [ -n "$gpu" ]; then
    /opt/linejudge/bin/python -c 'import pycuda, tensorrt' ||
        fail "TensorRT cannot be used: see above; on a Jetson apt install python3-libnvinfer, and run this again"
fi
ln -sfn "$(/opt/linejudge/bin/python -c 'import edge; print(edge.__path__[0])')/demo/bundle" \
    /opt/linejudge/demo-bundle
ln -sfn /opt/linejudge/bin/edge /usr/local/bin/edge  # root's and sudo's path lacks /opt/linejudge/bin

install -d -m 755 /etc/systemd/system
install -m 644 "$here"/systemd/*.service /etc/systemd/system/
install -d -m 755 /etc/linejudge
[ -e /etc/linejudge/sample.toml ] || install -m 644 "$here/recipes/sample.toml" /etc/linejudge/sample.toml
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi

cat <<'TEXT'
Linejudge is installed. Try the sample line, and watch its verdicts:
    edge check /etc/linejudge/sample.toml
    systemctl start linejudge@sample
    edge watch tcp://127.0.0.1:5571
Then copy /etc/linejudge/sample.toml to NAME.toml for your line, and `systemctl enable --now linejudge@NAME`.
TEXT
if [ -n "$gpu" ]; then
    cat <<'TEXT'
Build the engines of a bundle for this GPU, and see that the line uses one:
    /opt/linejudge/bin/trt-build build /etc/linejudge/bundles/NAME
    edge check /etc/linejudge/NAME.toml
TEXT
fi
