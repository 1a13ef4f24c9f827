# A flake of somebody who uses ours, for tests; they give both inputs.
{
  inputs.qemu-bmc.url = "github:nobody/qemu-bmc";
  inputs.qemu-bmc.inputs.nixpkgs.follows = "nixpkgs";

  # Beside it, all that ours has: with inputs that are not those of its lock file, a flake does not know its
  # own commit, but that of its inputs.
  outputs = {
    nixpkgs,
    qemu-bmc,
    ...
  }: let
    system = "x86_64-linux";
    machine = profile:
      qemu-bmc.lib.mkMachine {
        inherit profile;
        name = "node1";
        pkgs = nixpkgs.legacyPackages.${system};
      };
    nixos = services:
      (nixpkgs.lib.nixosSystem {
        inherit system;
        modules = [qemu-bmc.nixosModules.default {services.qemu-bmc = services;}];
      })
      .config;
  in {
    inherit (qemu-bmc) apps checks devShells formatter nixosModules packages;
    machines = {
      right = machine {firmware.mode = "uefi";};
      wrong = machine {
        machine.cpus = 0;
        firmware.mod = "uefi";
      };
      secret = machine {
        ipmi.users = [
          {
            name = "admin";
            password = "swordfish";
          }
        ];
      };
    };
    nothing = nixos {};
    clash = nixos {
      machines = {
        node1 = {};
        node2.ipmi.bind = "127.0.0.1";
        node3.ipmi.port = 623;
      };
    };
    fine = nixos {
      openFirewall = true;
      machines = {
        node1 = {};
        node2 = {
          ipmi.port = 6232;
          state_dir = "/srv/node2";
          disks = [{path = "/vm/a.qcow2";} {path = "${builtins.storeDir}/golden/disk.qcow2";}];
        };
      };
    };
  };
}
