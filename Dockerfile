# The image of the service and of the jobs: what every node of a cluster runs. From this folder:
#
#   docker build -t vrec:cpu .
#   docker build -t vrec:cuda --build-arg TORCH=cuda .
#   docker run --rm vrec:cpu check --help
#
# Everything comes from requirements.lock and deploy/image/*.lock, by hash. To pin the base as well, name it by
# its digest: --build-arg BASE=python@sha256:…; it must have Python 3.12, whose wheels torch-cpu.lock lists.
ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS build
# cpu or cuda. The CUDA build brings CUDA itself; the host needs NVIDIA's driver and container toolkit.
ARG TORCH=cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/vrec
WORKDIR /build
COPY requirements.lock deploy/image/requirements.py deploy/image/torch-cpu.lock deploy/image/build.lock ./
RUN python requirements.py --torch "$TORCH" requirements.lock > runtime.txt \
    && /opt/vrec/bin/pip install --require-hashes --no-deps -r runtime.txt
RUN if [ "$TORCH" = cpu ]; then \
        /opt/vrec/bin/pip install --require-hashes --no-deps --index-url "$TORCH_INDEX" -r torch-cpu.lock; \
    fi
RUN python -m pip install --require-hashes --no-deps -r build.lock
# The code last: a change of it leaves the layers above as they are.
COPY pyproject.toml README.md LICENSE ./
COPY vrec vrec
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && /opt/vrec/bin/pip install --no-deps --no-index dist/*.whl

FROM ${BASE}
# faiss, scikit-learn and implicit share the system's OpenMP.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 10001 --user-group --create-home vrec \
    && install -d -o vrec -g vrec /data /app \
    # KubeRay starts Ray in a login shell, which forgets the image's PATH.
    && echo 'export PATH=/opt/vrec/bin:$PATH' > /etc/profile.d/vrec.sh
COPY --from=build /opt/vrec /opt/vrec
WORKDIR /app
COPY jobs jobs
COPY configs configs
COPY serve_configs serve_configs
COPY deploy/image/smoke.sh deploy/image/smoke.sh
ENV PATH=/opt/vrec/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    # No telemetry.
    RAY_USAGE_STATS_ENABLED=0 \
    RAY_DATA_USAGE_DISABLED=1 \
    # Ray's own is 300 s: so long would a call be waited for at a machine that is gone without a word.
    RAY_grpc_client_keepalive_time_ms=15000 \
    RAY_grpc_client_keepalive_timeout_ms=15000 \
    # Serve's proxies log and echo any X-Request-ID otherwise.
    RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=vrec.serving.http.request_ids:proxy_middlewares \
    # Which parts of the driver NVIDIA's toolkit mounts; nothing without it.
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
# By number, so that Kubernetes sees that it is not root.
USER 10001:10001
# An image that cannot do this is not built; CI runs the same.
RUN bash deploy/image/smoke.sh
VOLUME /data
EXPOSE 8000
# Of `vrec serve`; a job does not listen, and has the health of its process. Orchestrators use /readyz besides.
HEALTHCHECK --interval=10s --timeout=5s --start-period=180s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["vrec"]
CMD ["--help"]
