# One image for everything this project runs: the search, its workers and the MLflow server.

FROM python:3.12-slim-bookworm AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY studies studies
COPY hpsearch hpsearch
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim-bookworm
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    HPSEARCH_CACHE=/work/cache

# The wheel is lent, not copied, so that no layer holds it twice.
# Its version is that of this folder; its requirements are bounded in pyproject.toml.
# hadolint ignore=DL3013
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    set -- /wheels/hpsearch-*.whl && pip install --no-cache-dir "$1[postgres]"

# A number, because Kubernetes can only tell that a number is not root. Named volumes take
# their owner from the folders they are first mounted on, so these exist beforehand.
RUN groupadd --gid 10001 hpsearch \
    && useradd --uid 10001 --gid 10001 --home-dir /work --no-create-home hpsearch \
    && install --directory --owner=10001 --group=10001 /work /work/cache /work/artifacts
WORKDIR /work
USER 10001:10001

ENTRYPOINT ["hpsearch"]
