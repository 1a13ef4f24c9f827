{nixosSystem}: rec {
  inherit nixosSystem;
  inherit (builtins) all any attrNames attrValues elem filter genList head length mapAttrs tail;
  inherit (builtins) concatMap concatStringsSep groupBy isAttrs isFunction isList listToAttrs;
  importTOML = path: builtins.fromTOML (builtins.readFile path);
  nameValuePair = name: value: {inherit name value;};
  genAttrs = names: f: listToAttrs (map (name: nameValuePair name (f name)) names);
  mapAttrs' = f: set: listToAttrs (map (name: f name set.${name}) (attrNames set));
  mapAttrsToList = f: set: map (name: f name set.${name}) (attrNames set);
  unique = builtins.foldl' (found: one: if elem one found then found else found ++ [one]) [];
  hasPrefix = prefix: text: builtins.substring 0 (builtins.stringLength prefix) text == prefix;
  assertMsg = holds: message: holds || throw message;
  makeBinPath = packages: concatStringsSep ":" (map (package: "${package}/bin") packages);
  getExe = package: "${package}/bin/${package.meta.mainProgram or package.pname or package.name}";
  licenses = {
    asl20 = {spdxId = "Apache-2.0";};
    mit = {spdxId = "MIT";};
  };
  platforms.linux = ["x86_64-linux" "aarch64-linux"];

  # Sets of files are lists of paths; a folder stands for all that is in it.
  fileset = {
    unions = paths: paths;
    toSource = {
      root,
      fileset,
    }:
      builtins.path {
        name = "source";
        path = root;
        filter = path: _: let
          related = one: path == toString one || hasPrefix "${toString one}/" path || hasPrefix "${path}/" (toString one);
        in
          any related fileset;
      };
  };

  mkIf = condition: content: {
    _type = "if";
    inherit condition content;
  };
  mkDefault = value: value;
  mkOption = option: option // {_type = "option";};
  literalExpression = text: {inherit text;};
  types = {
    attrsOf = _: {};
    bool = {};
    package = {};
  };
}
