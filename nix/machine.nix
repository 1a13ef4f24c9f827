# A profile, given as a Nix value, as a JSON file that `qemu-bmc check` has found to be right.
{
  lib,
  qemu-bmc,
  runCommand,
}: name: profile: let
  named = {inherit name;} // profile;
  hasPassword = user: user ? password;
in
  assert lib.assertMsg (!lib.any hasPassword (named.ipmi.users or [])) ''
    machine ${name}: a `password` would be in the Nix store, where everybody can read it; give its
    user a `password_file` instead'';
    runCommand "${name}.json" {
      profile = builtins.toJSON named;
      passAsFile = ["profile"];
      nativeBuildInputs = [qemu-bmc];
    } ''
      cp "$profilePath" "${name}.json"
      qemu-bmc check --profile-only --profile "${name}.json"
      cp "${name}.json" $out
    ''
