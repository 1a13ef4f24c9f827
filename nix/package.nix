{
  lib,
  makeWrapper,
  qemu,
  rustPlatform,
  # What the program gives as its commit; "" when nobody knows.
  commit ? "",
}: let
  manifest = (lib.importTOML ../Cargo.toml).package;
in
  rustPlatform.buildRustPackage {
    pname = manifest.name;
    inherit (manifest) version;
    # Only what the build reads. rust-toolchain.toml is rustup's, not ours: nixpkgs has its own Rust.
    src = lib.fileset.toSource {
      root = ../.;
      fileset = lib.fileset.unions [../Cargo.toml ../Cargo.lock ../src];
    };
    cargoLock.lockFile = ../Cargo.lock;
    env.QEMU_BMC_COMMIT = commit;
    # The tests in tests/ start QEMU with a guest, which the sandbox has not.
    cargoTestFlags = ["--lib"];
    nativeBuildInputs = [makeWrapper];
    # Behind the user's PATH: his own QEMU goes first. Not qemu_kvm, which on aarch64 has no
    # qemu-system-x86_64.
    postInstall = ''
      wrapProgram $out/bin/qemu-bmc --suffix PATH : ${lib.makeBinPath [qemu]}
      for shell in bash zsh fish; do
        $out/bin/qemu-bmc completions $shell > $shell
      done
      install -D -m 644 bash $out/share/bash-completion/completions/qemu-bmc
      install -D -m 644 zsh $out/share/zsh/site-functions/_qemu-bmc
      install -D -m 644 fish $out/share/fish/vendor_completions.d/qemu-bmc.fish
      $out/bin/qemu-bmc man > qemu-bmc.1
      install -D -m 644 qemu-bmc.1 $out/share/man/man1/qemu-bmc.1
    '';
    meta = {
      inherit (manifest) description;
      license = with lib.licenses; [asl20 mit];
      mainProgram = "qemu-bmc";
      platforms = lib.platforms.linux;
    };
  }
