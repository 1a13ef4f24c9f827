# As much of nixpkgs as flake.nix uses, for tests: packages are empty, except for what builds ours.
# There is no sandbox; what runs in a build comes from PATH, which host.json tells.
{
  outputs = {self}: let
    lib = import ./lib.nix {nixosSystem = import ./nixos.nix self;};
    packages = import ./packages.nix lib;
  in {
    inherit lib;
    legacyPackages = lib.genAttrs ["x86_64-linux" "aarch64-linux"] packages;
  };
}
