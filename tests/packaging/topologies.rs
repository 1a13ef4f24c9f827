//! The labs in `containerlab/`.

use std::path::Component;

use super::*;

/// Every file below `containerlab/` whose name ends so, relative to the repository.
fn files(end: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from("containerlab")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if path.to_str().unwrap().ends_with(end) {
                found.push(path.into_os_string().into_string().unwrap());
            }
        }
    }
    assert!(!found.is_empty(), "no *{end}");
    found.sort();
    found
}

fn topology(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap()
}

/// A path in a file of that folder, relative to the repository.
fn resolve(folder: &Path, path: &str) -> String {
    let mut resolved = PathBuf::new();
    for part in folder.join(path).components() {
        match part {
            Component::ParentDir => assert!(resolved.pop(), "{path} leaves the repository"),
            part => resolved.push(part),
        }
    }
    resolved.into_os_string().into_string().unwrap()
}

/// The topology's nodes with the defaults that containerlab gives them.
fn nodes(topology: &Value) -> Vec<(String, Value)> {
    let topology = &topology["topology"];
    let with_defaults = |(name, node): (&String, &Value)| {
        let mut merged = topology["defaults"].as_object().cloned().unwrap_or_default();
        merged.extend(node.as_object().unwrap().clone());
        (name.clone(), Value::Object(merged))
    };
    topology["nodes"].as_object().unwrap().iter().map(with_defaults).collect()
}

/// Text of a YAML scalar, as containerlab puts it into the environment.
fn scalar(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(|text| text.as_str().unwrap()).collect()
}

/// The node's binds: the path in the repository, and the one in the container.
fn binds(folder: &Path, node: &Value) -> Vec<(String, String)> {
    let split = |bind: &str| {
        let parts: Vec<&str> = bind.split(':').collect();
        (resolve(folder, parts[0]), parts[1].to_owned())
    };
    texts(&node["binds"]).into_iter().map(split).collect()
}

/// What `make guest` builds.
fn is_built(path: &str) -> bool {
    ["target/guest", "target/guest/vmlinuz", "target/guest/initrd"].contains(&path)
}

/// How the program says that a file is missing.
const MISSING: [&str; 3] = [" is not there", ": no such file or directory", ": no directory /"];

/// What is bound into a container of ours, and what its environment is, suits the program.
fn check_machine(name: &str, node: &Value, binds: &[(String, String)]) {
    let environment: Vec<(String, String)> = match node["env"].as_object() {
        Some(env) => env.iter().map(|(name, text)| (name.clone(), scalar(text))).collect(),
        None => Vec::new(),
    };
    for (variable, _) in &environment {
        assert!(is_known(variable), "{name}: {variable}");
    }
    let mut arguments = vec!["check", "--format", "json"];
    for (source, _) in binds.iter().filter(|(_, inside)| inside.starts_with("/etc/qemu-bmc/")) {
        arguments.extend(["--profile", source]);
    }
    assert!(arguments.contains(&"--profile"), "{name} has no profile");
    let output = program(&arguments, &environment);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let volumes = Dockerfile::read().list("VOLUME");
    for finding in report["findings"].as_array().unwrap() {
        let message = finding["message"].as_str().unwrap();
        // What is missing here, and is there in the container: what is bound, and the image's volumes.
        let missing = message.split(' ').find(|word| word.starts_with('/'));
        let missing = missing.filter(|_| MISSING.iter().any(|words| message.contains(words)));
        let bound = missing.and_then(|path| {
            let source = |(source, inside): &(String, String)| {
                Some(format!("{source}{}", path.strip_prefix(inside.as_str())?))
            };
            binds.iter().find_map(source)
        });
        let in_volume =
            |path: &str| volumes.iter().any(|volume| Path::new(path).starts_with(volume));
        match bound {
            Some(path) => assert!(is_built(&path) || root().join(&path).exists(), "{name}: {path}"),
            None if missing.is_some_and(in_volume) => {}
            None => {
                assert_ne!(finding["severity"], "error", "{name}: {message}");
                assert!(!message.contains("unknown variable"), "{name}: {message}");
                assert!(!message.contains("default password"), "{name}: {message}");
            }
        }
    }
    // Published and advertised port are one, so that Serial-over-LAN works from outside.
    let published = texts(&node["ports"]);
    let published = published.iter().find_map(|mapping| mapping.strip_suffix(":623/udp"));
    let published = published.map(|mapping| mapping.rsplit(':').next().unwrap().to_owned());
    let advertised = environment.iter().find(|(name, _)| name == "IPMI_ADVERTISED_PORT");
    assert_eq!(published.as_ref(), advertised.map(|(_, port)| port), "{name}");
}

fn check_node(folder: &Path, name: &str, node: &Value) {
    assert_eq!(node["kind"], "linux", "{name}");
    // A restart loses the node's links, and nothing here needs to be privileged.
    assert_eq!(node["restart-policy"], "no", "{name}");
    assert_eq!(node["privileged"], false, "{name}");
    assert_eq!(node["image-pull-policy"], "never", "{name}");
    let binds = binds(folder, node);
    for (source, _) in &binds {
        assert!(is_built(source) || root().join(source).exists(), "{name}: {source}");
    }
    let health = texts(&node["healthcheck"]["test"]);
    match node["image"].as_str().unwrap() {
        "qemu-bmc:latest" => {
            check_machine(name, node, &binds);
            if !health.is_empty() {
                let mut own = vec!["CMD".to_owned()];
                let check = Dockerfile::read();
                let (_, check) = check.one("HEALTHCHECK").split_once("CMD ").unwrap();
                own.extend(serde_json::from_str::<Vec<String>>(check).unwrap());
                assert_eq!(health, own, "{name}");
            }
        }
        // Built from a folder beside the topology, by a line of the Dockerfile's head.
        image => {
            let build = format!("docker build -t {} ", image.strip_suffix(":latest").unwrap());
            let head = |path: &String| read(path).contains(&format!("#   {build}"));
            assert!(files("/Dockerfile").iter().any(head), "{name}: {image}");
        }
    }
}

#[test]
fn topologies_fit_to_the_program() {
    for path in files(".clab.yml") {
        for (name, node) in nodes(&topology(&path)) {
            check_node(Path::new(&path).parent().unwrap(), &format!("{path}: {name}"), &node);
        }
    }
}

#[test]
fn topologies_are_what_containerlab_reads() {
    let schema: Value = serde_json::from_str(&read("tests/packaging/clab.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for path in files(".clab.yml") {
        let topology = topology(&path);
        let errors: Vec<String> = validator
            .iter_errors(&topology)
            .map(|error| format!("{path}{}: {error}", error.instance_path()))
            .collect();
        assert_eq!(errors, [] as [String; 0]);
    }
}

/// What the schema cannot say: each end of a link is an interface of a node, and is there once.
#[test]
fn links_join_nodes_that_are_there() {
    for path in files(".clab.yml") {
        let topology = topology(&path);
        let names: Vec<String> = nodes(&topology).into_iter().map(|(name, _)| name).collect();
        let mut ends = Vec::new();
        for link in topology["topology"]["links"].as_array().into_iter().flatten() {
            ends.extend(texts(&link["endpoints"]));
        }
        for end in &ends {
            let (node, interface) = end.split_once(':').unwrap();
            assert!(names.iter().any(|name| name == node), "{path}: {end}");
            assert_ne!(interface, "eth0", "{path}: {end} is the management network's");
            assert_eq!(ends.iter().filter(|other| *other == end).count(), 1, "{path}: {end}");
        }
        for (name, node) in nodes(&topology) {
            for stage in node["stages"].as_object().into_iter().flat_map(|stages| stages.values()) {
                for awaited in stage["wait-for"].as_array().into_iter().flatten() {
                    let other = awaited["node"].as_str().unwrap();
                    assert!(names.iter().any(|name| name == other), "{path}: {name}: {other}");
                }
            }
        }
    }
}

#[test]
fn every_lab_has_its_commands_in_a_readme() {
    for path in files(".clab.yml") {
        let readme = resolve(Path::new(&path).parent().unwrap(), "README.md");
        let text = read(&readme);
        for command in ["deploy", "destroy"] {
            let line = format!("sudo containerlab {command} -t {path}");
            assert!(text.contains(&line), "{readme}: {line}");
        }
        for (name, node) in nodes(&topology(&path)) {
            let image = node["image"].as_str().unwrap().strip_suffix(":latest").unwrap();
            let line = format!("\ndocker build -t {image} ");
            assert!(text.contains(&line), "{readme}: {line:?} for {name}");
        }
    }
}

#[test]
fn the_labs_own_images_are_plain() {
    for path in files("/Dockerfile") {
        let text = read(&path);
        assert_plain(&text);
        let folder = Path::new(&path).parent().unwrap().to_str().unwrap();
        assert!(text.contains("#   docker build -t ") && text.contains(&format!(" {folder}\n")));
        for (keyword, arguments) in instructions(&text) {
            if keyword == "COPY" {
                let source = arguments.split(' ').next().unwrap();
                assert!(root().join(folder).join(source).exists(), "{path}: {source}");
            }
        }
    }
}
