# The appliance. Build: docker build -t nnbox .
# WHEELS_IMAGE may hold local wheels (a CPU build of torch) at its root; pip looks there first.
ARG BASE_IMAGE=python:3.11-slim-bookworm
ARG WHEELS_IMAGE=scratch

FROM ${WHEELS_IMAGE} AS wheels

FROM ${BASE_IMAGE}
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 OMP_WAIT_POLICY=PASSIVE \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PATH=/opt/nnbox/bin:$PATH

# Dependencies in their own layer, before the source: a change of code installs nothing.
COPY requirements.txt /opt/requirements.txt
RUN --mount=type=bind,from=wheels,target=/wheels \
    --mount=type=secret,id=pip_conf,target=/etc/pip.conf --mount=type=secret,id=ca,target=/run/secrets/ca \
    python3 -m venv /opt/nnbox \
    && /opt/nnbox/bin/pip install --no-cache-dir --disable-pip-version-check --find-links /wheels -r /opt/requirements.txt

COPY entrypoint.py /app/
COPY nnbox /app/nnbox
RUN mkdir -p /input /output && chmod 1777 /input /output
WORKDIR /app
USER 1000:1000
ENTRYPOINT ["/opt/nnbox/bin/python", "/app/entrypoint.py"]
