# Two images, made in stages from hashed pins:
#   serve  (the default) only what serving imports, with the default model trained and published
#          while it is built: docker run answers at once
#   full   everything; trains and publishes into the volume /models when that is empty
#
#   docker build -t quadnet .
#   docker build -t quadnet:full --target full .
ARG PYTHON=python:3.13-slim

FROM ${PYTHON} AS base
ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
# The same number on every host, so that a mounted registry can be given to it.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin quadnet

# The wheel, with a pinned build backend, and with the compiled part of training. The C compiler
# stays in this stage; without it, the images would train slower and not report it.
FROM base AS wheel
RUN apt-get update \
 && apt-get install --yes --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
ENV QUADNET_REPLAY_BUILD=1
WORKDIR /src
COPY requirements/build.txt requirements/
RUN python3 -m venv /opt/build \
 && /opt/build/bin/pip install --require-hashes -r requirements/build.txt
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY quadnet quadnet
COPY service service
COPY pipeline pipeline
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels .

# An environment without pip in it, for each image.
FROM base AS install-serve
COPY requirements/serve.txt /requirements.txt
COPY --from=wheel /wheels /wheels
RUN python3 -m venv --without-pip /opt/quadnet \
 && python3 -m pip --python /opt/quadnet install --require-hashes -r /requirements.txt \
 && python3 -m pip --python /opt/quadnet install --no-deps /wheels/*.whl

FROM base AS install-full
COPY requirements/full.txt /requirements.txt
COPY --from=wheel /wheels /wheels
RUN python3 -m venv --without-pip /opt/quadnet \
 && python3 -m pip --python /opt/quadnet install --require-hashes -r /requirements.txt \
 && python3 -m pip --python /opt/quadnet install --no-deps /wheels/*.whl

# The version that the serving image holds.
FROM install-full AS trained
RUN /opt/quadnet/bin/quadnet train quadrants --registry /models

FROM base AS full
COPY --from=install-full /opt/quadnet /opt/quadnet
RUN mkdir /models && chown quadnet /models
# The page would listen inside the container only.
ENV PATH=/opt/quadnet/bin:$PATH QUADNET_REGISTRY=/models QUADNET_HOST=0.0.0.0 QUADNET_NO_PAGE=true
VOLUME /models
USER quadnet
# gRPC, and REST if QUADNET_HTTP_PORT is 8080.
EXPOSE 50051
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s CMD ["quadnet", "health"]
ENTRYPOINT ["quadnet"]
CMD ["up"]

FROM base AS serve
COPY --from=install-serve /opt/quadnet /opt/quadnet
COPY --from=trained /models /models
ENV PATH=/opt/quadnet/bin:$PATH QUADNET_REGISTRY=/models QUADNET_HOST=0.0.0.0
USER quadnet
# gRPC, and REST if QUADNET_HTTP_PORT is 8080.
EXPOSE 50051
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=5s --start-period=15s CMD ["quadnet", "health"]
ENTRYPOINT ["quadnet"]
CMD ["serve"]
