# The image of the Dockerfile, made without Docker: a program that writes it to its standard output.
{
  dockerTools,
  iproute2,
  lib,
  qemu,
  qemu-bmc,
  stdenv,
}: let
  # What a machine with a VNC display, without sound, needs of it. It is not in nixpkgs' cache. The
  # host's own target is there for the link `qemu-kvm`.
  small = qemu.override {
    hostCpuTargets = lib.unique ["x86_64-softmmu" "${stdenv.hostPlatform.qemuArch}-softmmu"];
    alsaSupport = false;
    canokeySupport = false;
    cephSupport = false;
    enableDocs = false;
    gtkSupport = false;
    guestAgentSupport = false;
    jackSupport = false;
    libiscsiSupport = false;
    pipewireSupport = false;
    pulseSupport = false;
    sdlSupport = false;
    smartcardSupport = false;
    spiceSupport = false;
  };
  second = 1000000000;
  variables = [
    "VM_NAME"
    "VM_MEMORY"
    "VM_CPUS"
    "VM_DISK"
    "VM_DISK_SIZE"
    "VM_CDROM"
    "VM_BOOT"
    "VM_BOOT_MODE"
    "VM_BOOT_MENU_TIMEOUT"
    "VM_NETWORKS"
    "ENABLE_KVM"
    "VNC_PORT"
    "IPMI_USER"
    "IPMI_PORT"
    "IPMI_INTERFACE"
    "IPMI_ADVERTISED_PORT"
    "POWER_ON_AT_START"
    "GRACEFUL_SHUTDOWN_TIMEOUT"
    "QEMU_BINARY"
    "QEMU_EXTRA_ARGS"
    "DEBUG"
  ];
in
  dockerTools.streamLayeredImage {
    name = "qemu-bmc";
    tag = qemu-bmc.version;
    # iproute2 is for `exec:` in containerlab's topologies; fakeNss has the user that QEMU runs as.
    contents = [(qemu-bmc.override {qemu = small;}) dockerTools.fakeNss iproute2];
    extraCommands = "mkdir -m 1777 tmp";
    # tests/flake.rs holds it against the Dockerfile.
    config = {
      Entrypoint = ["qemu-bmc"];
      Cmd = ["run"];
      # Empty is unset, as in the Dockerfile.
      Env = ["PATH=/bin"] ++ map (name: "${name}=") variables ++ ["SERIAL_SOCK=/var/run/qemu/console.sock"];
      ExposedPorts = {
        "623/udp" = {};
        "5900/tcp" = {};
      };
      Volumes = {
        "/vm" = {};
        "/var/lib/qemu-bmc" = {};
      };
      StopSignal = "SIGTERM";
      Healthcheck = {
        Test = ["CMD" "qemu-bmc" "health"];
        Interval = 5 * second;
        Timeout = 5 * second;
        StartPeriod = 10 * second;
      };
      Labels = {
        "org.opencontainers.image.title" = qemu-bmc.pname;
        "org.opencontainers.image.description" = qemu-bmc.meta.description;
        "org.opencontainers.image.version" = qemu-bmc.version;
        "org.opencontainers.image.licenses" = "Apache-2.0 OR MIT";
      };
    };
  }
