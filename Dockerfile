# The machine and its BMC as a container:
#
#   docker build -t qemu-bmc .
#   docker run --device /dev/kvm -p 623:623/udp -v "$PWD/vm:/vm" qemu-bmc
#
# For profiles with a TPM, `--build-arg EXTRA_PACKAGES=swtpm` (3.5 MB more).
#
# The bases are arguments so that a build can pin them by digest or take them from elsewhere.
ARG RUST_IMAGE=rust:1.95-slim-trixie
ARG BASE_IMAGE=debian:trixie-slim

FROM ${RUST_IMAGE} AS builder
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
RUN cargo build --release --locked

FROM ${BASE_IMAGE}
ARG EXTRA_PACKAGES=""
# Documentation, except for the licences, would be a third of the layer.
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        ovmf qemu-system-x86 qemu-utils ${EXTRA_PACKAGES} \
    && find /usr/share/doc -type f ! -name copyright -delete \
    && rm -rf /usr/share/info/* /usr/share/locale/* /usr/share/man/* \
        /var/cache/apt/* /var/lib/apt/lists/* /var/log/*
COPY LICENSE-APACHE LICENSE-MIT /usr/share/doc/qemu-bmc/
COPY --from=builder /src/target/release/qemu-bmc /usr/local/bin/

# What `docker run -e` can set (`qemu-bmc --help` says more). They are empty, which means unset:
# the program has the defaults, and a value here would outrank every profile file.
ENV VM_NAME="" VM_MEMORY="" VM_CPUS="" VM_DISK="" VM_DISK_SIZE="" VM_CDROM="" \
    VM_BOOT="" VM_BOOT_MODE="" VM_BOOT_MENU_TIMEOUT="" VM_NETWORKS="" \
    ENABLE_KVM="" VNC_PORT="" \
    IPMI_USER="" IPMI_PORT="" IPMI_INTERFACE="" IPMI_ADVERTISED_PORT="" \
    POWER_ON_AT_START="" GRACEFUL_SHUTDOWN_TIMEOUT="" \
    QEMU_BINARY="" QEMU_EXTRA_ARGS="" DEBUG=""

LABEL org.opencontainers.image.title="qemu-bmc" \
    org.opencontainers.image.description="A QEMU/KVM virtual machine with a BMC: IPMI 2.0, Serial-over-LAN and power control" \
    org.opencontainers.image.version="0.1.0" \
    org.opencontainers.image.licenses="Apache-2.0 OR MIT"

EXPOSE 623/udp 5900/tcp
VOLUME ["/vm", "/var/lib/qemu-bmc"]
# Shuts the guest down, in less than the 10 s that Docker waits.
STOPSIGNAL SIGTERM
# Healthy while the BMC answers, also with the machine off.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["qemu-bmc", "health"]
ENTRYPOINT ["qemu-bmc"]
CMD ["run"]
