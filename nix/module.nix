# services.qemu-bmc: machines with a BMC on NixOS, a systemd unit each.
self: {
  config,
  lib,
  pkgs,
  ...
}: let
  cfg = config.services.qemu-bmc;
  checked = pkgs.callPackage ./machine.nix {qemu-bmc = cfg.package;};

  # Only the directories are the module's own.
  withDirectories = name: profile:
    {
      run_dir = "/run/qemu-bmc/${name}";
      state_dir = "/var/lib/qemu-bmc/${name}";
    }
    // profile;
  machines = lib.mapAttrs withDirectories cfg.machines;

  port = profile: profile.ipmi.port or 623;
  # Where a machine's BMC listens.
  place = profile: "${profile.ipmi.bind or "all addresses"}, UDP ${toString (port profile)}";
  places = lib.groupBy (name: place machines.${name}) (lib.attrNames machines);

  # Images are read from the store; elsewhere, they may be written.
  folders = profile:
    lib.unique ([profile.run_dir profile.state_dir]
      ++ map (disk: dirOf disk.path)
      (lib.filter (disk: !lib.hasPrefix builtins.storeDir disk.path)
        (profile.disks or [{path = "/vm/disk.qcow2";}])));

  service = name: profile: {
    description = "The machine ${name} and its BMC";
    wantedBy = ["multi-user.target"];
    after = ["network.target"];
    serviceConfig = {
      ExecStart = "${lib.getExe cfg.package} run --profile ${checked name profile}";
      Restart = "on-failure";
      # Bad input, such as a file that is not there: it would be the same the next time.
      RestartPreventExitStatus = 2;
      # The program shuts the guest down; a signal to QEMU would cut its power.
      KillMode = "mixed";
      StateDirectory = "qemu-bmc/${name}";
      StateDirectoryMode = "0700";
      RuntimeDirectory = "qemu-bmc/${name}";

      # Root, but with little of what root may do: interfaces, low ports, and to run QEMU as `nobody`.
      CapabilityBoundingSet = [
        "CAP_CHOWN"
        "CAP_KILL"
        "CAP_NET_ADMIN"
        "CAP_NET_BIND_SERVICE"
        "CAP_SETGID"
        "CAP_SETUID"
      ];
      NoNewPrivileges = true;
      DevicePolicy = "closed";
      DeviceAllow = ["/dev/kvm rw" "/dev/net/tun rw" "/dev/vhost-net rw"];
      LockPersonality = true;
      PrivateTmp = true;
      ProtectClock = true;
      ProtectControlGroups = true;
      ProtectHome = lib.mkDefault true;
      ProtectHostname = true;
      ProtectKernelLogs = true;
      ProtectKernelModules = true;
      ProtectKernelTunables = true;
      ProtectSystem = "strict";
      # A folder that is not there is the program's to complain about.
      ReadWritePaths = map (folder: "-${folder}") (folders profile);
      RestrictAddressFamilies = ["AF_INET" "AF_INET6" "AF_NETLINK" "AF_UNIX"];
      RestrictNamespaces = true;
      RestrictRealtime = true;
      RestrictSUIDSGID = true;
      SystemCallArchitectures = "native";
    };
  };
in {
  options.services.qemu-bmc = {
    package = lib.mkOption {
      type = lib.types.package;
      default = self.packages.${pkgs.stdenv.hostPlatform.system}.default;
      defaultText = lib.literalExpression "qemu-bmc.packages.\${system}.default";
      description = "The qemu-bmc to run.";
    };
    machines = lib.mkOption {
      type = lib.types.attrsOf (pkgs.formats.json {}).type;
      default = {};
      example = lib.literalExpression ''
        {
          node1 = {
            machine.memory = "4GiB";
            disks = [{ path = "/var/lib/qemu-bmc/node1/disk.qcow2"; size = "20GiB"; }];
            nics = [{ wiring = "user"; }];
            ipmi.users = [{ name = "admin"; password_file = "/run/secrets/ipmi"; }];
          };
        }
      '';
      description = ''
        The machines, by name: to each its profile, with the keys of docs/profile.md. It is checked
        when the system is built.
      '';
    };
    openFirewall = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = "Whether to let everybody reach the BMCs' UDP ports.";
    };
  };

  config = lib.mkIf (cfg.machines != {}) {
    assertions = lib.mapAttrsToList (place: names: {
      assertion = lib.length names == 1;
      message = ''
        services.qemu-bmc.machines: ${lib.concatStringsSep " and " names} have their BMCs at one place
        (${place}); give them different values of `ipmi.port`, or of `ipmi.bind`.
      '';
    }) places;
    environment.systemPackages = [cfg.package];
    networking.firewall.allowedUDPPorts =
      lib.mkIf cfg.openFirewall (lib.unique (map port (lib.attrValues machines)));
    systemd.services = lib.mapAttrs' (name: profile:
      lib.nameValuePair "qemu-bmc-${name}" (service name profile))
    machines;
  };
}
