# Samba with fsrvpd, and the conformance kit.
#
#   docker build --target server -t fsrvpd .
#   docker build --target conformance -t fsrvpd-conformance .
#   cargo xtask image          # the same with buildah, on a base made by mmdebstrap, and tried out
#
# BASE is a Debian 12. PROGRAMS = "built" takes programs from target/release instead of building them.
ARG BASE=debian:bookworm-slim
ARG PROGRAMS=build

FROM ${BASE} AS build
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates curl gcc libc6-dev \
        libwbclient-dev libkrb5-dev libclang-dev pkg-config && \
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --default-toolchain none
WORKDIR /build
COPY . .
RUN PATH=/root/.cargo/bin:$PATH cargo build --release --package fsrvp-server --package fsrvpctl && \
    mkdir /programs && install --strip target/release/fsrvpd target/release/fsrvpctl /programs/

FROM ${BASE} AS built
COPY target/image/fsrvpd target/image/fsrvpctl /programs/

FROM ${PROGRAMS} AS programs

FROM ${BASE} AS server
RUN apt-get update && apt-get install --yes --no-install-recommends samba samba-common-bin samba-vfs-modules \
        python3-samba btrfs-progs libgssapi-krb5-2 libwbclient0 smbclient tini && \
    rm -rf /var/lib/apt/lists/* /var/log/apt && \
    mkdir -p /usr/lib/fsrvpd && dpkg-divert --divert /usr/lib/fsrvpd/samba-rpcd_fsrvp --rename \
        "$(dpkg -L samba-common-bin samba | grep -m 1 '/rpcd_fsrvp$')"
COPY --from=programs /programs/ /usr/sbin/
COPY packaging/image/serve packaging/image/healthy /usr/local/sbin/
# What has to survive, and be given as volumes: /srv (the shares), /var/lib/samba, /var/lib/fsrvpd. Not
# declared as VOLUME: buildah then lays an empty one over the one that was given.
EXPOSE 445
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s CMD ["/usr/local/sbin/healthy"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/tini", "-s", "-g", "--", "/usr/local/sbin/serve"]

FROM ${BASE} AS conformance
RUN apt-get update && apt-get install --yes --no-install-recommends python3 python3-impacket samba-testsuite smbclient \
        samba-common-bin && rm -rf /var/lib/apt/lists/* /var/log/apt
COPY tests/judges/ /opt/judges/
COPY packaging/image/conformance /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/conformance"]
