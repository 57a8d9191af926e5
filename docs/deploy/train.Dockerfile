# An image that runs every command of lstmae on a CPU; amd64 and arm64. Build it from the root of the repository:
#   docker build -f docs/deploy/train.Dockerfile -t lstm-ae-train .
FROM python:3.13-slim AS build
RUN python -m venv /opt/lstm-ae
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY lstm_ae lstm_ae
COPY cli cli
RUN /opt/lstm-ae/bin/pip install --no-cache-dir '.[watch,sql,mqtt]'

FROM python:3.13-slim
# Docker gives new volumes the owner of these folders. Any user can write them, for --user.
RUN install -d -m 1777 -o 1000 -g 1000 /data /cache /state
COPY --from=build /opt/lstm-ae /opt/lstm-ae
# The cache holds compiled kernels. A user that the image does not know has no home.
ENV PATH=/opt/lstm-ae/bin:$PATH HOME=/tmp XDG_CACHE_HOME=/cache MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /data
USER 1000:1000
HEALTHCHECK --interval=5m --timeout=30s CMD ["lstmae", "--version"]
ENTRYPOINT ["lstmae"]
CMD ["--help"]
