# Two stages: libvirt-python is compiled in the first, the second carries no compiler.
FROM debian:12-slim AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv python3-dev gcc libc6-dev pkg-config libvirt-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY config/lock config/lock
RUN python3 -m venv /opt/drover \
    && /opt/drover/bin/pip install --no-cache-dir --require-hashes -r config/lock/build.txt \
    && /opt/drover/bin/pip install --no-cache-dir --no-build-isolation --require-hashes -r config/lock/run.txt \
    && /opt/drover/bin/pip uninstall -y wheel setuptools pip

FROM debian:12-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 libvirt0 openssh-client ca-certificates tzdata fonts-dejavu-core \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /var/lib/drover drover
COPY --from=build /opt/drover /opt/drover
WORKDIR /opt/app
COPY bot bot
COPY plugins plugins
COPY pyproject.toml README.md ./
ENV PATH=/opt/drover/bin:$PATH PYTHONPATH=/opt/app PYTHONUNBUFFERED=1 \
    DROVER_CONFIG=/etc/drover/drover.toml DROVER_DATABASE__URL=sqlite:////var/lib/drover/drover.sqlite
USER drover
VOLUME /var/lib/drover
# Healthy: the process says so in its health file, renewed while Slack and the database answer.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["python3", "-m", "bot", "health"]
ENTRYPOINT ["python3", "-m", "bot"]
CMD ["run"]
