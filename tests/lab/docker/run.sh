#!/bin/bash
# `make docker-test`: builds VAI's image, brings docker/compose.yml up with secrets of its own, makes and deletes a
# machine through the published API, restarts everything and does so again, and takes it all down.
# Uses the Docker that is there, or as root starts one of its own; images that cannot be pulled are made from Debian.
set -euo pipefail
cd "$(dirname "$0")/../../.."
here=tests/lab/docker
python=${PYTHON:-.venv/bin/python}
work=${VAI_DOCKER_FOLDER:-/var/tmp/vai-docker-test} # kept between runs: it holds the images
export COMPOSE_PROJECT_NAME=vai-docker-test
mkdir -p "$work"

own=""
enter() { "$@"; }
if ! docker info >/dev/null 2>&1; then
    if [ "$(id -u)" != 0 ]; then
        echo "No Docker daemon answers. Start one, or run this as root and it starts its own." >&2
        exit 1
    fi
    if [ ! -e /usr/bin/slirp4netns ] || [ ! -e /usr/sbin/debootstrap ] || [ ! -e /usr/bin/docker-compose ] || [ ! -e /usr/sbin/dockerd ]; then
        DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y -q --no-install-recommends \
            docker.io docker-compose debootstrap slirp4netns >"$work/apt.log"
    fi
    PATH=/usr/bin:$PATH # the client that came with the daemon
    export DOCKER_HOST=unix://$work/docker.sock
    trap 'bash $here/daemon.sh stop "$work"' EXIT
    bash $here/daemon.sh start "$work"
    own=yes
    enter() { bash $here/daemon.sh enter "$work" "$@"; }
fi
if command -v docker-compose >/dev/null; then compose=(docker-compose); else compose=(docker compose); fi
base=debian:bookworm-slim
if ! docker image inspect "$base" >/dev/null 2>&1 && ! docker pull -q "$base" 2>"$work/pull.log"; then
    base=vai-base:bookworm
    if ! docker image inspect "$base" >/dev/null 2>&1; then
        echo "No image can be pulled; making the base with debootstrap ..."
        debootstrap --variant=minbase --include=ca-certificates bookworm "$work/base" >"$work/debootstrap.log"
        cp -L /etc/ssl/certs/ca-certificates.crt "$work/base/etc/ssl/certs/ca-certificates.crt"
        [ ! -e /etc/pip.conf ] || cp /etc/pip.conf "$work/base/etc/pip.conf"
        tar -C "$work/base" -c . | docker import - "$base" >/dev/null
        rm -rf "$work/base"
    fi
fi
export VAI_BASE_IMAGE=$base VAI_IMAGE=vai:test
docker build --build-arg "BASE=$base" -f docker/Dockerfile -t "$VAI_IMAGE" . >"$work/build.log" || { tail -30 "$work/build.log"; exit 1; }

for pair in MONGODB_IMAGE=mongo:7.0 RABBITMQ_IMAGE=rabbitmq:3.13 REDIS_IMAGE=redis:7.2; do
    if ! docker image inspect "${pair#*=}" >/dev/null 2>&1 && ! docker pull -q "${pair#*=}" 2>>"$work/pull.log"; then
        stand_in=yes
        export "${pair%%=*}=vai-servers:test"
    fi
done
if [ -n "${stand_in:-}" ]; then
    # Packed by hand: older builders know no ignore file of a Dockerfile's own.
    tar -c requirements.txt $here | docker build --build-arg "BASE=$base" -f $here/Dockerfile -t vai-servers:test - \
        >"$work/servers.log" || { tail -30 "$work/servers.log"; exit 1; }
fi

# A copy: the secrets of this try stand beside the compose file, and no installation's own are touched.
rm -rf "$work/docker"
cp -r docker "$work/docker"
rm -f "$work/docker/.env"
"$work/docker/make-secrets"
port=$("$python" -c 'from tests.lab.process import free_port; print(free_port())')
flower=$("$python" -c 'from tests.lab.process import free_port; print(free_port())')
printf 'VAI_API_PORT=%s\nVAI_FLOWER_PORT=%s\n' "$port" "$flower" >>"$work/docker/.env"
up() { "${compose[@]}" --env-file "$work/docker/.env" -f "$work/docker/compose.yml" "$@"; }
down() {
    up logs --no-color >"$work/containers.log" 2>&1 || true
    up down --volumes --timeout 30 >"$work/down.log" 2>&1 || true
    [ -z "$own" ] || bash $here/daemon.sh stop "$work"
}
trap down EXIT

VAI_TOKEN=$(sed -n 's/^VAI_TOKEN=//p' "$work/docker/.env")
export VAI_TOKEN
life() {
    enter curl --silent --fail --retry 60 --retry-delay 1 --retry-all-errors --noproxy '*' "http://127.0.0.1:$port/readyz" >/dev/null
    enter "$python" -m tests.lab.docker.life "http://127.0.0.1:$port" /var/lib/vai/harbour.db
}
healthy() { # every process says by its own probe that it does its work
    for name in api worker-requests worker-provision worker-stats watcher beat flower; do
        for attempt in $(seq 1 20); do
            up exec -T "$name" vai probe "$name" && break
            [ "$attempt" -lt 20 ] || return 1
            sleep 1
        done
    done
}

up up --detach --no-build
life
healthy
echo "Restarting every container ..."
up restart --timeout 30 >/dev/null 2>&1
life
up exec -T api sh -c 'test "$(id -u)" = 10001' && echo "VAI's processes run as the user vai, not as root."
up ps
echo "1 passed, 0 failed"
