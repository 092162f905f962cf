# lbtwist in a container: see docs/running.md.
#
#     docker build --tag lbtwist .
#     docker run --read-only --tmpfs /run/lbtwist:uid=10001 --publish 8080:8080 \
#         --volume $PWD/etc/container.ini:/etc/lbtwist/lb.ini:ro lbtwist

ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
COPY . /src
RUN python -m venv /opt/lbtwist \
    && /opt/lbtwist/bin/pip install --no-cache-dir --disable-pip-version-check "/src[redis,auth]" \
    # Twisted remembers its plug-ins in files beside them, which nobody may write later.
    && /opt/lbtwist/bin/twist --help > /dev/null

FROM python:${PYTHON}-slim
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin lbtwist \
    && install -d -o lbtwist -g lbtwist -m 750 /run/lbtwist /var/lib/lbtwist
COPY --from=build /opt/lbtwist /opt/lbtwist
COPY etc/container.ini /etc/lbtwist/lb.ini
ENV PATH=/opt/lbtwist/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A number, so that Kubernetes sees that it is not root.
USER 10001:10001
WORKDIR /var/lib/lbtwist
EXPOSE 8080
STOPSIGNAL SIGTERM
# It is well if it answers; whether its servers are is said by lbtwist show servers.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s \
    CMD lbtwist show info --config /etc/lbtwist/lb.ini > /dev/null || exit 1
# twist makes no daemon and no pid file, and writes its events as JSON.
ENTRYPOINT ["twist", "--reactor", "lbtwist", "lbtwist"]
CMD ["--config", "/etc/lbtwist/lb.ini"]
