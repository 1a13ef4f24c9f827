# Toolchain, and every tool that the tests use (on Debian: `scripts/setup test`).
{
  bash,
  cargo-deny,
  clippy,
  fish,
  freeipmi,
  git,
  gnumake,
  iproute2,
  ipmitool,
  ipmiutil,
  mandoc,
  mkShell,
  nix,
  openipmi,
  procps,
  python3,
  qemu,
  qemu-bmc,
  rustfmt,
  socat,
  swtpm,
  tcpdump,
  util-linux,
  zsh,
}:
mkShell {
  inputsFrom = [qemu-bmc];
  packages = [
    bash
    cargo-deny
    clippy
    fish
    freeipmi
    git
    gnumake
    iproute2
    ipmitool
    ipmiutil
    mandoc
    nix
    openipmi
    procps
    (python3.withPackages (packages: [packages.jsonschema]))
    qemu
    rustfmt
    socat
    swtpm
    tcpdump
    util-linux
    zsh
  ];
}
