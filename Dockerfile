# The appliance. `make image` builds it; by hand: docker build -t nnbox .
# BuildKit features of Docker 20.10 only.
ARG BASE_IMAGE=python:3.11-slim-bookworm
# WHEELS_IMAGE may hold wheels at its root (a CPU build of torch); pip looks there first.
ARG WHEELS_IMAGE=scratch

FROM ${WHEELS_IMAGE} AS wheels

FROM ${BASE_IMAGE}
# Which lock: cuda (the public index's torch brings its CUDA libraries, so the base needs none) or cpu.
ARG VARIANT=cuda
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 OMP_WAIT_POLICY=PASSIVE \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    NNBOX_IMAGE=nnbox PATH=/opt/nnbox/bin:$PATH
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# Dependencies in their own layer, before the source: a change of code installs nothing. pip's settings and
# certificates may come as secrets; neither they nor the mounted wheels leave a trace in a layer.
COPY requirements.txt requirements-cuda.txt /opt/
RUN --mount=type=bind,from=wheels,target=/wheels \
    --mount=type=secret,id=pip_conf,target=/etc/pip.conf --mount=type=secret,id=ca,target=/run/secrets/ca \
    case "$VARIANT" in cuda) lock=/opt/requirements-cuda.txt ;; cpu) lock=/opt/requirements.txt ;; \
        *) echo "VARIANT=$VARIANT: expected cuda or cpu" >&2; exit 2 ;; esac \
    && python3 -m venv /opt/nnbox \
    && /opt/nnbox/bin/pip install --no-cache-dir --disable-pip-version-check --find-links /wheels -r "$lock"

# Triton compiles its launcher on the machine with the card, once: the CUDA image brings the C compiler (179 MB) for that.
# hadolint ignore=DL3008
RUN if [ "$VARIANT" = cuda ]; then \
        needed=(gcc libc6-dev); \
        [ -e "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ] || needed+=(python3-dev); \
        apt-get update && apt-get install --yes --no-install-recommends "${needed[@]}" && rm -rf /var/lib/apt/lists/*; \
    fi

# Any --user must be able to write where nothing is mounted.
RUN mkdir -p /input /output && chmod 1777 /input /output

COPY entrypoint.py /app/
COPY nnbox /app/nnbox
RUN /opt/nnbox/bin/python -m compileall -q /app/nnbox /app/entrypoint.py

ARG VERSION=unknown
ARG REVISION=unknown
ENV NNBOX_REVISION=${REVISION}
LABEL org.opencontainers.image.title="nnbox" \
      org.opencontainers.image.description="A segmentation appliance: a labelled medical-image data set in, a cross-validated model and a checked submission out." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
WORKDIR /app
USER 1000:1000
# The init process reaps what is orphaned and hands signals to nnbox alone, which decides what they mean for its workers.
ENTRYPOINT ["/opt/nnbox/bin/dumb-init", "--single-child", "--", "/opt/nnbox/bin/python", "/app/entrypoint.py"]
