# The module and mkMachine: what is right is built, and what is wrong is not.
{
  nixpkgs,
  pkgs,
  self,
}: let
  users = [
    {
      name = "admin";
      password_file = "/run/secrets/ipmi";
    }
  ];
  system = nixpkgs.lib.nixosSystem {
    inherit (pkgs.stdenv.hostPlatform) system;
    modules = [
      self.nixosModules.default
      {
        boot.isContainer = true;
        system.stateVersion = "25.11";
        services.qemu-bmc.machines = {
          node1 = {
            firmware.mode = "uefi";
            ipmi = {inherit users;};
            disks = [
              {
                path = "/srv/node1.qcow2";
                size = "20GiB";
              }
            ];
          };
          node2 = {
            disks = [];
            ipmi = {
              inherit users;
              port = 6232;
            };
          };
        };
      }
    ];
  };
  unit = name: {
    inherit name;
    path = system.config.systemd.units.${name}.unit;
  };

  machine = self.lib.mkMachine {
    inherit pkgs;
    name = "node3";
    profile.ipmi = {inherit users;};
  };
  wrong = self.lib.mkMachine {
    inherit pkgs;
    name = "node4";
    profile.machine.cpus = 0;
  };
in {
  module = pkgs.linkFarm "module" (map unit ["qemu-bmc-node1.service" "qemu-bmc-node2.service"]);
  machine = pkgs.runCommand "machine" {} ''
    # That it gets as far as its password, which is not there, shows that it has its profile.
    ! ${machine}/bin/node3 check 2> errors || exit 1
    grep -q 'the password file /run/secrets/ipmi cannot be used' errors
    touch $out
  '';
  wrong-profile = pkgs.runCommand "wrong-profile" {failed = pkgs.testers.testBuildFailure wrong.profile;} ''
    grep -q 'machine.cpus' $failed/testBuildFailure.log
    touch $out
  '';
}
