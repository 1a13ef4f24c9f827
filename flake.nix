{
  description = "A QEMU/KVM virtual machine with a BMC: IPMI 2.0, Serial-over-LAN and power control";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs = {
    self,
    nixpkgs,
  }: let
    inherit (nixpkgs) lib;
    # For each system, `f` of its nixpkgs and of our packages for it.
    forAllSystems = f:
      lib.genAttrs ["x86_64-linux" "aarch64-linux"] (system: f nixpkgs.legacyPackages.${system} self.packages.${system});
  in {
    packages = forAllSystems (pkgs: packages: {
      default = pkgs.callPackage ./nix/package.nix {commit = self.rev or self.dirtyRev or "";};
      oci-image = pkgs.callPackage ./nix/oci-image.nix {qemu-bmc = packages.default;};
    });

    apps = forAllSystems (_: packages: {
      default = {
        type = "app";
        program = lib.getExe packages.default;
        meta = {inherit (packages.default.meta) description;};
      };
    });

    devShells = forAllSystems (pkgs: packages: {
      default = pkgs.callPackage ./nix/shell.nix {qemu-bmc = packages.default;};
    });

    nixosModules.default = import ./nix/module.nix self;

    # mkMachine { pkgs; name; profile; }: a program that runs one machine.
    lib.mkMachine = {pkgs, ...} @ machine:
      pkgs.callPackage ./nix/make-machine.nix {
        qemu-bmc = self.packages.${pkgs.stdenv.hostPlatform.system}.default;
      } (removeAttrs machine ["pkgs"]);

    checks = forAllSystems (pkgs: packages:
      {
        package = packages.default;
        format = pkgs.runCommand "format" {nativeBuildInputs = [pkgs.alejandra];} ''
          alejandra --check ${./flake.nix} ${./nix}
          touch $out
        '';
      }
      // import ./nix/checks.nix {inherit nixpkgs pkgs self;});

    # `nix fmt` without arguments formats all Nix files.
    formatter = forAllSystems (pkgs: _:
      pkgs.writeShellScriptBin "format" ''
        exec ${lib.getExe pkgs.alejandra} "''${@:-.}"
      '');
  };
}
