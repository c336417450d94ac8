# Targets: service (CPU, no torch), service-gpu (CUDA), worker (service and training; the default).
#   docker build --target service -t nearnorm:service .
# Every target runs as uid 10001 and writes to /var/lib/nearnorm and /tmp alone, so that the root file
# system can be mounted read-only. torch's default wheel carries CUDA: a worker without a GPU saves
# gigabytes when PyTorch's CPU package index is given as --build-arg PIP_EXTRA_INDEX_URL=...
# What the service runs on comes by deploy/service.lock, hashes checked; CUDA's wheels and torch, of which
# every index has its own builds, do not.

FROM python:3.11-slim AS wheel
WORKDIR /source
COPY . .
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim AS install
RUN python -m venv /opt/nearnorm
ENV PATH=/opt/nearnorm/bin:$PATH
COPY --from=wheel /wheels /wheels
COPY deploy/service.lock /wheels/

FROM install AS install-service
ARG PIP_EXTRA_INDEX_URL
RUN pip install --no-cache-dir --require-hashes -r /wheels/service.lock \
    && pip install --no-cache-dir --no-deps "$(echo /wheels/*.whl)[cpu,arrow,kafka,postgres,s3,otel,signatures,oidc]"

FROM install AS install-service-gpu
ARG PIP_EXTRA_INDEX_URL
RUN pip install --no-cache-dir "$(echo /wheels/*.whl)[gpu,arrow,kafka,postgres,s3,otel,signatures,oidc]"

FROM install AS install-worker
ARG PIP_EXTRA_INDEX_URL
COPY constraints.txt /wheels/
RUN pip install --no-cache-dir --require-hashes -r /wheels/service.lock \
    && pip install --no-cache-dir "$(echo /wheels/*.whl)[cpu,arrow,kafka,postgres,s3,otel,signatures,oidc,training]" -c /wheels/constraints.txt

FROM python:3.11-slim AS runtime
RUN useradd --uid 10001 --user-group --home-dir /var/lib/nearnorm --create-home --shell /usr/sbin/nologin nearnorm
ENV PATH=/opt/nearnorm/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NEARNORM_HOME=/var/lib/nearnorm \
    NEARNORM_HOST=0.0.0.0
WORKDIR /var/lib/nearnorm
VOLUME /var/lib/nearnorm
USER 10001:10001

FROM runtime AS service-base
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
CMD ["nearnorm", "serve"]

FROM service-base AS service
COPY --from=install-service /opt/nearnorm /opt/nearnorm

FROM service-base AS service-gpu
ENV NEARNORM_DEVICE=cuda \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=install-service-gpu /opt/nearnorm /opt/nearnorm

FROM runtime AS worker
ENV MPLCONFIGDIR=/tmp/matplotlib
# A worker answers no requests: what watches it is the age of waiting jobs (docs/operations.md).
HEALTHCHECK NONE
COPY --from=install-worker /opt/nearnorm /opt/nearnorm
CMD ["nearnorm", "worker"]
