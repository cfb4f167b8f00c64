# Quire with all its parts, for an unprivileged user.
#
#   docker build -t quire .                              CPU only
#   docker build -t quire:gpu --build-arg VARIANT=gpu .  with the CUDA libraries
#   docker run -p 8420:8420 -v quire:/var/lib/quire quire
#
# The last line runs everything in one container, as `quire up` does on a machine.
# docker-compose.yml runs the parts separately, with PostgreSQL and Redis.

FROM python:3.11-slim AS packages
ARG VARIANT=cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    UV_PYTHON_DOWNLOADS=never
WORKDIR /src

COPY requirements.lock requirements-gpu.lock ./
RUN awk '/^(hatchling|packaging|pathspec|pluggy|tomlkit|trove-classifiers|uv)==/ { inside = 1 } \
         inside { print } inside && !/\\$/ { inside = 0 }' requirements.lock > build.lock \
    && pip install --no-cache-dir --require-hashes -r build.lock

# Packages are installed before the source is copied, so that a change of the source does not fetch
# TensorFlow again. The lock gives versions and hashes, pyproject.toml what the server needs.
COPY pyproject.toml ./
RUN case "$VARIANT" in \
        cpu) set -- --constraint requirements.lock --extra server ;; \
        gpu) set -- --constraint requirements-gpu.lock --extra server --extra gpu ;; \
        *) echo "VARIANT is '$VARIANT'; it can be cpu or gpu" >&2; exit 1 ;; \
    esac \
    && python -m venv --without-pip /opt/quire \
    && uv pip install --python /opt/quire/bin/python --compile-bytecode -r pyproject.toml "$@" \
    # 430 MB of C++ headers, for people who compile TensorFlow operations of their own.
    && rm -r /opt/quire/lib/python3.11/site-packages/tensorflow/include


# The project has a layer of its own: an upgrade then moves megabytes, not TensorFlow.
FROM packages AS project
COPY LICENSE README.md ./
COPY api ./api
COPY quire ./quire
COPY migrations ./migrations
COPY shared ./shared
COPY worker ./worker
RUN python -m hatchling build -t wheel \
    && uv pip install --python /opt/quire/bin/python --prefix /opt/project --compile-bytecode \
        --no-index --no-deps dist/*.whl


FROM python:3.11-slim
RUN useradd --uid 10001 --create-home --home-dir /var/lib/quire --shell /usr/sbin/nologin quire
RUN mkdir --mode=0755 /var/cache/cuda && chown 10001:10001 /var/cache/cuda
WORKDIR /var/lib/quire
COPY --from=packages /opt/quire /opt/quire
COPY --from=project /opt/project /opt/quire
# Without a GPU, the GPU image refuses to start a worker: it was built to have one.
ARG VARIANT=cpu
ENV PATH=/opt/quire/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    QUIRE_DATA_DIR=/var/lib/quire \
    QUIRE_DEVICES=${VARIANT} \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    # What the driver compiles for a GPU at the first start; the default is 1 GiB.
    CUDA_CACHE_PATH=/var/cache/cuda \
    CUDA_CACHE_MAXSIZE=4294967296
USER 10001
EXPOSE 8420
# Checks the part that runs here: whether the API is ready, or whether the workers are alive.
HEALTHCHECK --interval=15s --timeout=30s --start-period=180s --retries=3 \
    CMD ["python", "-P", "-m", "shared.process.health"]
ENTRYPOINT ["quire"]
CMD ["up", "--host", "0.0.0.0"]
