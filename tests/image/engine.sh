#!/usr/bin/env bash
# A container engine and an offline base image, on a machine that may have neither.
#   engine.sh up      use the engine that answers, or install and start one; make the base and wheels images
#   engine.sh env     print shell exports (eval them): DOCKER_HOST, DOCKER, DOCKER_BUILDKIT
#   engine.sh build TAG CONTEXT [docker build options]
#   engine.sh down    stop the dockerd that 'up' started and undo its network changes
# NNBOX_FAKE_GPU=1 lets `--gpus all` be accepted where there is no card.
set -euo pipefail
if [ "$(id -u)" = 0 ]; then   # only root can start an engine; another user may use the one that is there
  STATE=${NNBOX_ENGINE_STATE:-/var/lib/nnbox-engine} RUN=/run/nnbox-engine
else
  STATE=${NNBOX_ENGINE_STATE:-$HOME/.cache/nnbox-engine} RUN=${XDG_RUNTIME_DIR:-/tmp}/nnbox-engine-$(id -u)
fi
SOCK=$RUN/docker.sock
PIDF=$RUN/dockerd.pid
SUITE=${NNBOX_BASE_SUITE:-bookworm}          # Python 3.11, as the local CPU torch wheel
BASE=${NNBOX_BASE_TAG:-nnbox-base:debian}
WHEELS=${NNBOX_WHEELS_TAG:-nnbox-wheels:local}
WHEEL_DIR=${NNBOX_WHEEL_DIR:-}               # default: pip's own find-links directory
say() { printf '[engine %4ds] %s\n' "$SECONDS" "$*" >&2; }

pick_client() {   # a client that has BuildKit: buildx plugin, or the 20.10 client that has it built in
  if docker buildx version >/dev/null 2>&1; then echo docker; return; fi
  if [ -x /usr/bin/docker ] && /usr/bin/docker --version | grep -q 'version 20\.'; then echo /usr/bin/docker; return; fi
  echo docker
}
answers() { timeout 20 "$(pick_client)" version --format '{{.Server.Version}}' >/dev/null 2>&1; }
mine() { [ -s "$PIDF" ] && [ "$(cat "/proc/$(cat "$PIDF")/comm" 2>/dev/null)" = dockerd ]; }

install_pkgs() {
  local need=()
  command -v dockerd >/dev/null || need+=(docker.io iptables)
  command -v mmdebstrap >/dev/null || need+=(mmdebstrap)
  [ ${#need[@]} = 0 ] && return 0
  say "installing ${need[*]}"
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${need[@]}" >"$STATE/apt.log" 2>&1 \
    || { tail -20 "$STATE/apt.log" >&2; return 1; }
}
launch() {  # extra dockerd flags
  setsid dockerd --data-root "$STATE/data" --exec-root "$RUN/exec" --pidfile "$PIDF" -H "unix://$SOCK" "$@" \
    >"$STATE/dockerd.log" 2>&1 </dev/null 9>&- &
  local child=$!
  for _ in $(seq 1 120); do
    DOCKER_HOST=unix://$SOCK answers && return 0
    kill -0 "$child" 2>/dev/null || return 1
    sleep 0.25
  done
  kill "$child"; return 1
}
start_engine() {
  mine && { export DOCKER_HOST=unix://$SOCK; answers && return 0; }
  unset DOCKER_HOST
  if answers && [ "${NNBOX_ENGINE_OWN:-0}" = 0 ]; then say "using the engine already there"; rm -f "$RUN/own"; return 0; fi
  install_pkgs
  rm -f "$PIDF" "$SOCK"
  cat /proc/sys/net/ipv4/ip_forward >"$RUN/ip_forward"
  if [ "${NNBOX_FAKE_GPU:-0}" = 1 ]; then   # lets `--gpus all` be accepted where there is no GPU; does nothing else
    mkdir -p "$STATE/bin"; printf '#!/bin/sh\ncat >/dev/null\nexit 0\n' >"$STATE/bin/nvidia-container-runtime-hook"
    chmod +x "$STATE/bin/nvidia-container-runtime-hook"; PATH=$PATH:$STATE/bin
  fi
  if launch; then echo default >"$RUN/network"
  else
    say "default start failed ($(tail -1 "$STATE/dockerd.log")); trying vfs without a bridge"
    launch --storage-driver=vfs --iptables=false --bridge=none || { tail -20 "$STATE/dockerd.log" >&2; return 1; }
    echo host >"$RUN/network"
  fi
  export DOCKER_HOST=unix://$SOCK
  : >"$RUN/own"; say "dockerd is up ($(docker info -f '{{.ServerVersion}} {{.Driver}}'))"
}
make_base() {
  docker image inspect "$BASE" >/dev/null 2>&1 && return 0
  command -v mmdebstrap >/dev/null || install_pkgs
  say "making $BASE ($SUITE)"
  local tar; tar=$(mktemp "$STATE/base.XXXXXX.tar")
  # the apt settings are those of the public Debian images, so that layers stay small
  mmdebstrap --quiet --mode=root --variant=minbase --include=ca-certificates,python3,python3-venv \
    --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
    --aptopt='Dir::Cache::pkgcache ""' --aptopt='Dir::Cache::srcpkgcache ""' \
    --customize-hook='printf "%s\n" "DPkg::Post-Invoke { \"rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true\"; };" > "$1/etc/apt/apt.conf.d/docker-clean"' \
    --customize-hook='rm -f "$1/etc/resolv.conf" "$1/etc/hostname"' \
    "$SUITE" "$tar" >"$STATE/base.log" 2>&1 || { tail -20 "$STATE/base.log" >&2; rm -f "$tar"; return 1; }
  docker import --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    --change 'ENV LANG=C.UTF-8' --change 'CMD ["bash"]' "$tar" "$BASE" >/dev/null
  rm -f "$tar"
}
make_wheels() {
  docker image inspect "$WHEELS" >/dev/null 2>&1 && return 0
  local d=$WHEEL_DIR
  [ -n "$d" ] || d=${PIP_FIND_LINKS:-$(python3 -m pip config get global.find-links 2>/dev/null || true)}
  d=${d%%[[:space:]]*}
  [ -d "$d" ] || { say "no directory of local wheels; the build will take what the index has"; return 0; }
  say "making $WHEELS from pip's find-links directory"
  tar -C "$d" -c . | docker import - "$WHEELS" >/dev/null
}
make_secrets() {   # what pip needs to reach the index from inside a build; never written into a layer
  local d=$RUN/secrets; mkdir -p "$d"; chmod 700 "$d"
  cat "${PIP_CERT:-${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}}" >"$d/ca"
  ( umask 077; { echo '[global]'; echo 'cert = /run/secrets/ca'
    local k v; for k in index-url trusted-host; do
      v=$(python3 -m pip config get "global.$k" 2>/dev/null || true); [ -n "$v" ] && echo "$k = $v"; done; true; } >"$d/pip_conf" )
}
case ${1:-up} in
up)
  mkdir -p "$STATE" "$RUN"; exec 9>"$RUN/lock"; flock 9
  start_engine
  # An engine that was there already is asked for the public base image, as anybody's would be.
  if [ -e "$RUN/own" ]; then make_base; make_wheels; fi
  make_secrets; say ready ;;
env)
  [ -e "$RUN/own" ] && echo "export DOCKER_HOST=unix://$SOCK"
  echo "export DOCKER=$(pick_client) DOCKER_BUILDKIT=1" ;;
build)
  tag=$2 ctx=$3; shift 3
  images=()
  if [ -e "$RUN/own" ]; then
    export DOCKER_HOST=unix://$SOCK
    images+=(--build-arg "BASE_IMAGE=$BASE")
    docker image inspect "$WHEELS" >/dev/null 2>&1 && images+=(--build-arg "WHEELS_IMAGE=$WHEELS" --build-arg VARIANT=cpu)
  fi
  DOCKER_BUILDKIT=1 exec "$(pick_client)" build --progress=plain --network "$(cat "$RUN/network" 2>/dev/null || echo default)" \
    "${images[@]}" \
    --secret "id=pip_conf,src=$RUN/secrets/pip_conf" --secret "id=ca,src=$RUN/secrets/ca" "$@" -t "$tag" "$ctx" ;;
down)
  if mine; then
    export DOCKER_HOST=unix://$SOCK
    docker ps -q | xargs -r docker stop -t 2 >/dev/null
    p=$(cat "$PIDF"); kill "$p"
    for _ in $(seq 1 80); do [ -d "/proc/$p" ] || break; sleep 0.25; done
    [ -d "/proc/$p" ] && { say "dockerd $p did not stop"; exit 1; }
    ip link del docker0 2>/dev/null || true
    for t in filter nat; do iptables-save -t $t 2>/dev/null | grep -qi docker && {
      iptables-save -t $t | grep -viE 'docker' | sed 's/^:FORWARD DROP/:FORWARD ACCEPT/' | iptables-restore -T $t || true; }; done
    cat "$RUN/ip_forward" >/proc/sys/net/ipv4/ip_forward 2>/dev/null || true
    find /sys/fs/cgroup/*/docker -depth -type d -exec rmdir {} + 2>/dev/null || true
    say "stopped"
  fi
  # dockerd leaves its netns bind mount behind
  awk -v r="$RUN/" 'index($2, r) == 1 {print $2}' /proc/mounts | sort -r | xargs -r umount || true
  rm -rf "$RUN" ;;
*) sed -n 2,7p "$0" >&2; exit 2 ;;
esac
