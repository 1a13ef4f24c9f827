# NixOS's modules in small: options have defaults, and definitions that are sets or lists are merged.
nixpkgs: {
  system,
  modules,
}: let
  inherit (nixpkgs) lib;
  pkgs = nixpkgs.legacyPackages.${system};

  isIf = value: value._type or "" == "if";
  isOption = value: value._type or "" == "option";
  isTree = value: lib.isAttrs value && !(value ? type && value.type == "derivation");

  # A condition may depend on what is merged, so it is looked at where there is nothing below.
  pushDown = value:
    if isIf value && isTree value.content
    then lib.mapAttrs (_: inner: lib.mkIf value.condition inner) (pushDown value.content)
    else value;
  known = value:
    if !isIf value
    then [value]
    else if value.condition
    then known value.content
    else [];
  innermost = value:
    if isIf value
    then innermost value.content
    else value;
  merge = values: let
    leaves = lib.concatMap known values;
  in
    if isTree (innermost (lib.head values))
    then builtins.zipAttrsWith (_: merge) (map (value: pushDown (flatten value)) values)
    else if lib.isList (lib.head leaves)
    then lib.concatMap (leaf: leaf) leaves
    else builtins.elemAt leaves (lib.length leaves - 1);
  # A condition in a condition, as one.
  flatten = value:
    if isIf value && isIf value.content
    then flatten (lib.mkIf (value.condition && value.content.condition) value.content.content)
    else value;

  evaluate = module:
    if lib.isFunction module
    then module {inherit config lib pkgs;}
    else module;
  evaluated = map evaluate modules;
  definition = module: module.config or (removeAttrs module ["options"]);
  options = merge ([{}] ++ map (module: module.options or {}) (map evaluate modules));
  defaults = option:
    if isOption option
    then option.default
    else lib.mapAttrs (_: defaults) option;
  config = merge ([(defaults options)] ++ map definition evaluated);

  # Of each service, the unit, as JSON instead of systemd's format.
  units = lib.mapAttrs' (name: service:
    lib.nameValuePair "${name}.service" {
      unit = pkgs.writeText "${name}.service" (builtins.toJSON service);
    });
in {
  inherit options;
  config =
    config
    // {
      systemd = config.systemd // {units = units config.systemd.services;};
    };
}
