lib: system: let
  host = builtins.fromJSON (builtins.readFile ./host.json);

  # A build by bash. What it is made from stays to be seen.
  run = name: attributes: script: let
    inputs = attributes.nativeBuildInputs or [];
    arguments =
      {PATH = lib.concatStringsSep ":" (map (input: "${input}/bin") inputs ++ [host.path]);}
      // removeAttrs attributes ["env" "meta" "passthru" "nativeBuildInputs"]
      // (attributes.env or {})
      // {
        inherit name system;
        builder = "/bin/bash";
        # Nix kills a builder that closes its output before it ends, as a last command that bash
        # becomes may do.
        args = ["-euo" "pipefail" "-c" "${script}\n:"];
        HOME = "/nonexistent";
      };
  in
    derivation arguments // {inherit script arguments;} // {meta = attributes.meta or {};} // (attributes.passthru or {});

  callPackage = file: arguments: let
    function =
      if lib.isFunction file
      then file
      else import file;
    built = function (builtins.intersectAttrs (builtins.functionArgs function) packages // arguments);
  in
    if lib.isAttrs built
    then built // {override = others: callPackage file (arguments // others);}
    else built;

  # A program with nothing in it.
  empty = name: run name {passthru.override = _: empty name;} "mkdir $out";
  names = [
    "bash"
    "cargo-deny"
    "clippy"
    "debootstrap"
    "docker"
    "docker-compose"
    "ethtool"
    "fish"
    "freeipmi"
    "git"
    "gnumake"
    "iproute2"
    "ipmitool"
    "ipmiutil"
    "iptables"
    "makeWrapper"
    "mandoc"
    "nix"
    "openipmi"
    "procps"
    "rustfmt"
    "slirp4netns"
    "socat"
    "swtpm"
    "tcpdump"
    "util-linux"
    "xz"
    "zsh"
  ];

  packages =
    lib.genAttrs names empty
    // {
      inherit callPackage lib;
      stdenv.hostPlatform = {
        inherit system;
        qemuArch = builtins.head (builtins.split "-" system);
      };
      python3 = empty "python3" // {withPackages = choose: run "python3" {passthru.packages = choose {jsonschema = "jsonschema";};} "mkdir $out";};
      # Nobody has it but nixpkgs, so here it finds everything well formatted.
      alejandra = run "alejandra" {meta.mainProgram = "alejandra";} "install -D -m 755 /bin/true $out/bin/alejandra";
      # A QEMU that names the options it was made with, in place of the host's.
      qemu = callPackage ({...} @ options: run "qemu" {passthru = {inherit options;};} "mkdir $out") {};

      runCommand = run;
      writeText = name: text:
        run name {
          inherit text;
          passAsFile = ["text"];
        } ''cp "$textPath" $out'';
      writeShellScriptBin = name: text:
        run name {
          text = "#!/bin/bash\n${text}";
          passAsFile = ["text"];
          meta.mainProgram = name;
        } ''install -D -m 755 "$textPath" $out/bin/${name}'';
      linkFarm = name: entries:
        run name {} ''
          mkdir $out
          ${lib.concatStringsSep "\n" (map (entry: "ln -s ${entry.path} $out/${entry.name}") entries)}
          '';
      formats.json = _: {type = {};};
      testers.testBuildFailure = package:
        run "failed-${package.arguments.name}" (package.arguments // {failing = package.script;}) ''
          if out=$PWD/unused bash -euo pipefail -c "$failing" > log 2>&1; then exit 1; fi
          mkdir $out
          cp log $out/testBuildFailure.log
          '';

      rustPlatform.buildRustPackage = arguments @ {
        pname,
        version,
        src,
        cargoLock,
        env,
        meta,
        postInstall,
        ...
      }:
        run "${pname}-${version}" {
          inherit src env meta postInstall;
          passthru = {inherit pname version;};
          lock = cargoLock.lockFile;
          # As quick as it can be had.
          CARGO_PROFILE_DEV_DEBUG = "0";
          CARGO_PROFILE_DEV_OPT_LEVEL = "0";
          CARGO_HOME = host.cargo_home;
          passAsFile = ["postInstall"];
        } ''
          cp -r $src source
          chmod -R u+w source
          cd source
          cmp Cargo.lock $lock
          cargo build --offline --locked --quiet --target-dir ../target
          install -D -s ../target/debug/${pname} $out/bin/${pname}
          wrapProgram() {
            mv $1 ''${1%/*}/.''${1##*/}-wrapped
            printf '#!/bin/bash\nPATH=$PATH:%s exec -a "$0" %s "$@"\n' $5 ''${1%/*}/.''${1##*/}-wrapped > $1
            chmod +x $1
          }
          . "$postInstallPath"
          '';
      mkShell = {
        inputsFrom,
        packages,
      }:
        run "shell" {passthru = {inherit inputsFrom packages;};} "mkdir $out";
      dockerTools = {
        fakeNss = empty "fakeNss";
        streamLayeredImage = image:
          run "image" {passthru = {inherit image;};} "mkdir $out";
      };
    };
in
  packages
