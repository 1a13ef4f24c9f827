{
  description = "A QEMU/KVM virtual machine with a BMC: IPMI 2.0, Serial-over-LAN and power control";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs = {
    self,
    nixpkgs,
  }: let
    inherit (nixpkgs) lib;
    forAllSystems = f:
      lib.genAttrs ["x86_64-linux" "aarch64-linux"] (system: f nixpkgs.legacyPackages.${system});
    manifest = (lib.importTOML ./Cargo.toml).package;
  in {
    packages = forAllSystems (pkgs: {
      default = pkgs.rustPlatform.buildRustPackage {
        pname = manifest.name;
        inherit (manifest) version;
        # Only what the build reads, so that nothing else causes a new one. rust-toolchain.toml is
        # rustup's, not ours: nixpkgs has its own Rust.
        src = lib.fileset.toSource {
          root = ./.;
          fileset = lib.fileset.unions [./Cargo.toml ./Cargo.lock ./src];
        };
        cargoLock.lockFile = ./Cargo.lock;
        # The tests in tests/ start QEMU with a guest, which the sandbox has not.
        cargoTestFlags = ["--lib"];
        nativeBuildInputs = [pkgs.makeWrapper];
        # Behind the user's PATH: his own QEMU goes first. Not qemu_kvm, which on aarch64 has no
        # qemu-system-x86_64.
        postInstall = ''
          wrapProgram $out/bin/qemu-bmc --suffix PATH : ${lib.makeBinPath [pkgs.qemu]}
        '';
        meta = {
          inherit (manifest) description;
          license = with lib.licenses; [asl20 mit];
          mainProgram = "qemu-bmc";
          platforms = lib.platforms.linux;
        };
      };
    });

    apps = forAllSystems (pkgs: {
      default = {
        type = "app";
        program = lib.getExe self.packages.${pkgs.stdenv.hostPlatform.system}.default;
        meta = {inherit (manifest) description;};
      };
    });

    devShells = forAllSystems (pkgs: {
      default = pkgs.mkShell {
        inputsFrom = [self.packages.${pkgs.stdenv.hostPlatform.system}.default];
        packages = with pkgs; [cargo-deny clippy freeipmi ipmitool qemu rustfmt socat];
      };
    });

    checks = forAllSystems (pkgs: {
      package = self.packages.${pkgs.stdenv.hostPlatform.system}.default;
      format = pkgs.runCommand "format" {nativeBuildInputs = [pkgs.alejandra];} ''
        alejandra --check ${./flake.nix}
        touch $out
      '';
    });

    # `nix fmt` without arguments formats the only Nix file.
    formatter = forAllSystems (pkgs:
      pkgs.writeShellScriptBin "format" ''
        exec ${lib.getExe pkgs.alejandra} "''${@:-flake.nix}"
      '');
  };
}
