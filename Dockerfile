# Two stages: the first installs, checked by hash, into one folder; the second has only that folder.
# tests/test_dockerfile.py runs these steps in order in a fresh folder, without a Docker engine.
#
# For a build that is the same in a year, pin the base by digest:
#   docker build --build-arg BASE=python:3.13-slim-bookworm@sha256:... .
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python -m venv /opt/deploy-watchdog
COPY requirements.lock ./
RUN /opt/deploy-watchdog/bin/python -m pip install --require-hashes --only-binary=:all: -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY watchdog ./watchdog
COPY checks ./checks
COPY detectors ./detectors
COPY config ./config
# /var/lib/deploy-watchdog is the only folder written to; everything else may be mounted read-only.
RUN /opt/deploy-watchdog/bin/python -m pip install --no-deps . \
    && install -d -m 0750 /var/lib/deploy-watchdog

FROM ${BASE}
COPY --from=build /opt/deploy-watchdog /opt/deploy-watchdog
COPY --from=build --chown=65534:65534 /var/lib/deploy-watchdog /var/lib/deploy-watchdog
ENV PATH=/opt/deploy-watchdog/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    WATCHDOG__STATE_DIR=/var/lib/deploy-watchdog
WORKDIR /var/lib/deploy-watchdog
VOLUME /var/lib/deploy-watchdog
USER 65534:65534
EXPOSE 8099
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8099/livez', timeout=4)"]
ENTRYPOINT ["deploy-watchdog"]
CMD ["run", "-c", "/etc/deploy-watchdog"]
