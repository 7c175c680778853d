#!/bin/sh
# Installs Linejudge from a folder of wheels, without a network: user, command, service, sample recipe.
set -eu

usage() {
    cat <<'TEXT'
usage: install.sh WHEELS

WHEELS is a folder with the wheel of linejudge and those of all it needs. Make it where there is a network,
with the Python version and the kind of processor of this machine, in the folder of the project:

    python3 -m pip wheel --wheel-dir WHEELS .

It makes, or brings up to date:

    linejudge                                 user and group without a login, for the service
    /opt/linejudge                            virtual environment with the command `edge`
    /etc/systemd/system/linejudge@.service    one instance a recipe
    /etc/linejudge/sample.toml                a first recipe, if there is none

Recipes and running lines are left alone: `systemctl restart linejudge@NAME` when the line may stop.
TEXT
}

case "${1:-}" in
-h | --help) usage && exit ;;
"") usage >&2 && exit 2 ;;
esac
wheels=$1
here=$(cd "$(dirname "$0")" && pwd)

fail() {
    echo "install.sh: $1" >&2
    exit 1
}

[ "$(id -u)" = 0 ] || fail "it makes a user and a service: run it as root"
ls "$wheels"/linejudge-*.whl >/dev/null 2>&1 || fail "$wheels: no wheel of linejudge in it: see --help"
umask 022

getent passwd linejudge >/dev/null ||
    useradd --system --user-group --home-dir /var/lib/linejudge --shell /usr/sbin/nologin linejudge
for group in video render plugdev; do # V4L2 cameras, GPUs, USB cameras
    if getent group "$group" >/dev/null; then usermod --append --groups "$group" linejudge; fi
done

[ -x /opt/linejudge/bin/python ] || python3 -m venv /opt/linejudge
/opt/linejudge/bin/python -m pip install --quiet --disable-pip-version-check --no-index --find-links "$wheels" \
    --upgrade linejudge
ln -sfn "$(/opt/linejudge/bin/python -c 'import edge; print(edge.__path__[0])')/demo/bundle" \
    /opt/linejudge/demo-bundle

install -D -m 644 "$here/systemd/linejudge@.service" /etc/systemd/system/linejudge@.service
install -d -m 755 /etc/linejudge
[ -e /etc/linejudge/sample.toml ] || install -m 644 "$here/recipes/sample.toml" /etc/linejudge/sample.toml
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi

cat <<'TEXT'
Linejudge is installed. Try the sample line, and watch its verdicts:
    /opt/linejudge/bin/edge check /etc/linejudge/sample.toml
    systemctl start linejudge@sample
    /opt/linejudge/bin/edge watch tcp://127.0.0.1:5571
Then copy /etc/linejudge/sample.toml to NAME.toml for your line, and `systemctl enable --now linejudge@NAME`.
TEXT
