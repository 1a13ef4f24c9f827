# The machine and its BMC as a container; docs/container.md says more:
#
#   docker build -t qemu-bmc .
#   docker run --cap-add NET_ADMIN --device /dev/net/tun --device /dev/kvm -p 623:623/udp -v "$PWD/vm:/vm" qemu-bmc
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
COPY scripts/build-release scripts/
# What `qemu-bmc version` says: the checkout itself is not copied.
ARG QEMU_BMC_COMMIT=""
RUN scripts/build-release

FROM ${BASE_IMAGE}
ARG EXTRA_PACKAGES=""
# iproute2 is for `exec:` in containerlab's topologies. What goes again is half of all this: documentation,
# except for the licences; QEMU's tools and emulators that nobody calls; and firmware for other
# architectures, or in variants that no profile can choose.
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        iproute2 ovmf qemu-system-x86 qemu-utils ${EXTRA_PACKAGES} \
    && find /usr/bin -name 'qemu-*' ! -name qemu-img ! -name qemu-system-x86_64 -delete \
    && cd /usr/share/qemu \
    && rm -rf *.dtb *.img *.lid OVMF.fd QEMU,* npcm* openbios-* palcode-* slof.bin trace-events-all u-boot* vof.bin \
        /usr/lib/qemu/qemu-bridge-helper /usr/share/ovmf \
        /usr/share/OVMF/*.snakeoil.fd /usr/share/OVMF/*.strictnx.fd \
    && find /usr/share/doc -type f ! -name copyright -delete \
    && rm -rf /usr/share/info/* /usr/share/lintian /usr/share/locale/* /usr/share/man/* \
        /var/cache/apt/* /var/cache/debconf/* /var/cache/ldconfig/* /var/lib/apt/lists/* /var/lib/dpkg/*-old /var/log/*
COPY LICENSE-APACHE LICENSE-MIT /usr/share/doc/qemu-bmc/
COPY --from=builder /src/target/release/qemu-bmc /usr/local/bin/

# What `docker run -e` can set (`qemu-bmc --help` says more). They are empty, which means unset:
# the program has the defaults, and a value here would outrank every profile file. IPMI_PASS and
# IPMI_PASS_FILE can be set, too, but a secret has no place in an image, not even an empty one.
ENV VM_NAME="" VM_MEMORY="" VM_CPUS="" VM_DISK="" VM_DISK_SIZE="" VM_CDROM="" \
    VM_BOOT="" VM_BOOT_MODE="" VM_BOOT_MENU_TIMEOUT="" VM_NETWORKS="" \
    ENABLE_KVM="" VNC_PORT="" \
    IPMI_USER="" IPMI_PORT="" IPMI_INTERFACE="" IPMI_ADVERTISED_PORT="" \
    POWER_ON_AT_START="" GRACEFUL_SHUTDOWN_TIMEOUT="" \
    QEMU_BINARY="" QEMU_EXTRA_ARGS="" DEBUG=""
# For scripts that look for the serial console. The program does not read it.
ENV SERIAL_SOCK="/var/run/qemu/console.sock"

LABEL org.opencontainers.image.title="qemu-bmc" \
    org.opencontainers.image.description="A QEMU/KVM virtual machine with a BMC: IPMI 2.0, Serial-over-LAN and power control" \
    org.opencontainers.image.version="0.1.0" \
    org.opencontainers.image.licenses="Apache-2.0 OR MIT"

EXPOSE 623/udp 5900/tcp
VOLUME ["/vm", "/var/lib/qemu-bmc"]
# Shuts the guest down, in less than the 10 s that Docker waits.
STOPSIGNAL SIGTERM
# Healthy while the BMC answers, also with the machine off. The first check is after one interval.
HEALTHCHECK --interval=5s --timeout=5s --start-period=10s CMD ["qemu-bmc", "health"]
ENTRYPOINT ["qemu-bmc"]
CMD ["run"]
