#!/bin/bash
# A Docker daemon of our own, in a network namespace of its own: daemon.sh start FOLDER | stop FOLDER
# It changes no interface, no firewall rule and no resolver of the machine; containers reach out by user-mode NAT.
set -euo pipefail
folder=$2
name=vai-$(echo "$folder" | cksum | cut -d' ' -f1)

start() {
    mkdir -p "$folder"
    ip netns add "$name"
    ip -n "$name" link set lo up
    slirp4netns --configure --mtu=65520 --netns-type=path "/run/netns/$name" tap0 >"$folder/slirp.log" 2>&1 &
    echo $! >"$folder/slirp.pid"
    echo "nameserver 10.0.2.3" >"$folder/resolv.conf"
    # nsenter, not `ip netns exec`: /sys/fs/cgroup stays to be seen. The mount is this daemon's alone.
    # shellcheck disable=SC2016 # the inner shell expands them
    FOLDER=$folder nsenter --net="/run/netns/$name" unshare --mount sh -c '
        mount --make-rprivate / && mount --bind "$FOLDER/resolv.conf" /etc/resolv.conf &&
        exec dockerd -H "unix://$FOLDER/docker.sock" --data-root "$FOLDER/data" --exec-root "$FOLDER/exec" \
            --pidfile "$FOLDER/dockerd.pid" --storage-driver overlay2' >"$folder/dockerd.log" 2>&1 &
    for _ in $(seq 1 150); do
        DOCKER_HOST="unix://$folder/docker.sock" docker info >/dev/null 2>&1 && return
        sleep 0.2
    done
    tail -20 "$folder/dockerd.log" >&2
    stop
    return 1
}

stop() {
    for each in dockerd slirp; do
        [ -e "$folder/$each.pid" ] || continue
        pid=$(cat "$folder/$each.pid")
        kill "$pid" 2>/dev/null || true
        for _ in $(seq 1 150); do kill -0 "$pid" 2>/dev/null || break; sleep 0.2; done
        rm -f "$folder/$each.pid"
    done
    ip netns del "$name" 2>/dev/null || true
}

case $1 in
start) start ;;
stop) stop ;;
enter) shift 2; exec nsenter --net="/run/netns/$name" "$@" ;;
esac
