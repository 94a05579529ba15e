# Two stages: libvirt-python is compiled in the first, the second carries no compiler.
# The base may be any Debian 12, such as one made by debootstrap: --build-arg BASE=localhost/debian:12
ARG BASE=docker.io/library/debian:12-slim
FROM ${BASE} AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        python3 python3-venv python3-dev gcc libc6-dev pkg-config libvirt-dev binutils
WORKDIR /src
COPY config/lock config/lock
RUN python3 -m venv /opt/drover \
    && /opt/drover/bin/pip install --no-cache-dir --require-hashes -r config/lock/build.txt \
    && /opt/drover/bin/pip install --no-cache-dir --no-build-isolation --require-hashes -r config/lock/run.txt \
    && /opt/drover/bin/pip uninstall -y wheel setuptools pip
COPY config/image config/image
RUN config/image/slim /opt/drover
COPY bot /opt/app/bot
COPY plugins /opt/app/plugins
COPY config/drover.example.toml /opt/app/config/
COPY config/clusters /opt/app/config/clusters
# What the bot imports is all there
RUN cd /opt/app && PYTHONDONTWRITEBYTECODE=1 /opt/drover/bin/python -m bot plugins >/dev/null \
    && PYTHONDONTWRITEBYTECODE=1 /opt/drover/bin/python -c 'import bot.app, bot.check, dbos, paramiko, psycopg, matplotlib.backends.backend_agg'

FROM ${BASE}
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        python3 libvirt0 openssh-client ca-certificates tzdata fonts-dejavu-core \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* /var/cache/debconf/* /var/log/* /usr/lib/x86_64-linux-gnu/gconv \
    && find /usr/lib -name __pycache__ -prune -exec rm -rf {} + \
    && useradd --system --uid 10001 --create-home --home-dir /var/lib/drover drover
COPY --from=build /opt/drover /opt/drover
COPY --from=build /opt/app /opt/app
WORKDIR /opt/app
# Plugins: mount a folder at /opt/plugins, filled by `pip install --target plugins NAME`.
# Compiled code is kept in the volume by the first start, which takes some seconds longer for that.
ENV PATH=/opt/drover/bin:$PATH PYTHONPATH=/opt/app:/opt/plugins PYTHONUNBUFFERED=1 \
    PYTHONPYCACHEPREFIX=/var/lib/drover/.pycache \
    DROVER_CONFIG=/etc/drover/drover.toml DROVER_DATABASE__URL=sqlite:////var/lib/drover/drover.sqlite
USER drover
VOLUME /var/lib/drover
# Healthy: the process says so in its health file, renewed while Slack and the database answer.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["python3", "-m", "bot", "health"]
ENTRYPOINT ["python3", "-m", "bot"]
CMD ["run"]
