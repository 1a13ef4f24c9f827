# A program that runs one machine: `qemu-bmc` with its checked profile. Further layers go over it:
# variables, `--set`, and what else the command line says.
{
  callPackage,
  lib,
  qemu-bmc,
  writeShellScriptBin,
}: {
  name,
  profile,
}: let
  checked = callPackage ./machine.nix {inherit qemu-bmc;} name profile;
  program = writeShellScriptBin name ''
    exec ${lib.getExe qemu-bmc} --profile ${checked} "$@"
  '';
in
  program // {profile = checked;}
