# A slim image that serves the models of saved_models/ on a CPU; amd64 and arm64. Build it from the root of the
# repository:
#   docker build -f docs/deploy/serve.Dockerfile -t lstm-ae-serve .
FROM python:3.13-slim AS build
RUN python -m venv /opt/lstm-ae
WORKDIR /src
COPY docs/deploy/serve-requirements.txt ./
# TensorFlow's C++ headers and libclang, which is for its build only, are a third of the installation.
RUN /opt/lstm-ae/bin/pip install --no-cache-dir -r serve-requirements.txt \
    && rm -r /opt/lstm-ae/lib/python3.*/site-packages/tensorflow/include /opt/lstm-ae/lib/python3.*/site-packages/clang
COPY pyproject.toml README.md LICENSE ./
COPY lstm_ae lstm_ae
COPY cli cli
# The server needs few of the package's dependencies, and tensorflow-serving-api would install TensorFlow's GPU build.
RUN /opt/lstm-ae/bin/pip install --no-cache-dir --no-deps "tensorflow-serving-api>=2.20" .

FROM python:3.13-slim
COPY --from=build /opt/lstm-ae /opt/lstm-ae
COPY saved_models /models
ENV PATH=/opt/lstm-ae/bin:$PATH HOME=/tmp
USER 1000:1000
EXPOSE 8500 8501
# Liveness, not /ready: a new version that cannot be loaded must not stop the server from answering with the old one.
HEALTHCHECK --start-period=2m --interval=30s --timeout=5s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8501/health', timeout=4)"]
ENTRYPOINT ["lstmae", "serve"]
CMD ["/models", "--host", "0.0.0.0"]
