//! The manifests in `deploy/kubernetes/`: held against the schemas of Kubernetes, and against the
//! program.

use super::*;

const FOLDER: &str = "deploy/kubernetes";

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(&format!("{FOLDER}/{path}"))).unwrap()
}

fn list(value: &Value) -> Vec<&Value> {
    value.as_array().into_iter().flatten().collect()
}

/// A pair `name`, `value` of each entry.
fn pairs(value: &Value) -> Vec<(String, String)> {
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap().to_owned();
    list(value).into_iter().map(|entry| (text(entry, "name"), text(entry, "value"))).collect()
}

/// What the validator says of a file, an unknown field being an error.
fn validate(path: &Path) -> (bool, String) {
    let validator = root().join("target/python-clients/bin/kubernetes-validate");
    assert!(validator.exists(), "no kubernetes-validate: `make python-clients` installs it");
    let output = Command::new(validator).arg("--strict").arg(path).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn manifests_are_what_kubernetes_reads() {
    for manifest in ["statefulset", "service"] {
        let path = root().join(format!("{FOLDER}/base/{manifest}.yaml"));
        let (valid, said) = validate(&path);
        // It also succeeds where it knows no schema.
        assert!(valid && said.contains(&format!("passed for resource {manifest}/")), "{said}");
        let typo = std::fs::read_to_string(&path).unwrap().replacen("targetPort", "targetport", 1);
        let typo = typo.replacen("enableServiceLinks", "enableServiceLink", 1);
        let copy = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
        std::fs::write(copy.path(), typo).unwrap();
        let (valid, said) = validate(copy.path());
        assert!(!valid, "a typo was not found: {said}");
    }
}

/// The machines, each a folder that the kustomization lists.
fn machines() -> Vec<String> {
    let machines = yaml("kustomization.yaml");
    let machines = list(&machines["resources"]);
    let machines: Vec<String> = machines.iter().map(|name| name.as_str().unwrap().into()).collect();
    assert!(machines.len() > 1);
    machines
}

#[test]
fn kustomizations_find_their_files_and_tell_machines_apart() {
    let base = yaml("base/kustomization.yaml");
    assert_eq!(base["resources"], serde_json::json!(["statefulset.yaml", "service.yaml"]));
    let volumes = &yaml("base/statefulset.yaml")["spec"]["template"]["spec"]["volumes"];
    for machine in machines() {
        let kustomization = yaml(&format!("{machine}/kustomization.yaml"));
        assert_eq!(kustomization["kind"], "Kustomization");
        assert_eq!(kustomization["resources"], serde_json::json!(["../base"]), "{machine}");
        assert_eq!(kustomization["namePrefix"], format!("{machine}-"));
        let label = &kustomization["labels"][0];
        assert_eq!(label["pairs"]["app.kubernetes.io/instance"], machine);
        // Without it, the Service of one machine would find the other.
        assert_eq!(label["includeSelectors"], true, "{machine}");
        let generator = &kustomization["configMapGenerator"][0];
        assert_eq!(generator["files"], serde_json::json!(["profile.toml"]), "{machine}");
        let volume = |volume: &&Value| volume["configMap"]["name"] == generator["name"];
        assert!(list(volumes).iter().any(volume), "{machine}");
    }
}

#[test]
fn pods_are_what_the_program_needs() {
    let stateful_set = yaml("base/statefulset.yaml");
    let pod = &stateful_set["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let environment = pairs(&container["env"]);
    let value = |name: &str| {
        let found = environment.iter().find(|(other, _)| other == name);
        found.unwrap_or_else(|| panic!("no {name}")).1.as_str()
    };
    for (name, _) in &environment {
        assert!(is_known(name), "{name}");
    }
    // Kubernetes would set variables such as IPMI_PORT for Services.
    assert_eq!(pod["enableServiceLinks"], false);

    let security = &container["securityContext"];
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(security["capabilities"]["drop"], serde_json::json!(["ALL"]));
    assert!(list(&security["capabilities"]["add"]).iter().any(|added| *added == "NET_ADMIN"));
    assert!(!security["privileged"].as_bool().unwrap_or_default());
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let command = &container[probe]["exec"]["command"];
        assert_eq!(*command, serde_json::json!(["qemu-bmc", "health"]), "{probe}");
    }

    // What the program listens on, what the Service shows, and what clients are told.
    let service = yaml("base/service.yaml");
    let (port, shown) = (&container["ports"][0], &service["spec"]["ports"][0]);
    assert_eq!(port["containerPort"].to_string(), value("IPMI_PORT"));
    assert_eq!(shown["port"].to_string(), value("IPMI_ADVERTISED_PORT"));
    assert_eq!(shown["targetPort"], port["name"]);
    assert_eq!(stateful_set["spec"]["serviceName"], service["metadata"]["name"]);
    for entry in [port, shown] {
        assert_eq!(entry["protocol"], "UDP");
    }

    let mounts = list(&container["volumeMounts"]);
    let mount_path = |volume: &str| {
        let found = mounts.iter().find(|mount| mount["name"] == volume);
        found.unwrap_or_else(|| panic!("no {volume}"))["mountPath"].as_str().unwrap()
    };
    let defaults = defaults();
    assert_eq!(Some(Path::new(mount_path("state"))), defaults.state_dir.as_deref());
    assert!(Path::new(value("IPMI_PASS_FILE")).starts_with(mount_path("password")));
    assert_eq!(mount_path("profile"), "/etc/qemu-bmc");
    let claims: Vec<&Value> = list(&stateful_set["spec"]["volumeClaimTemplates"]);
    for volume in ["vm", "state"] {
        assert!(claims.iter().any(|claim| claim["metadata"]["name"] == volume), "{volume}");
    }

    for machine in machines() {
        let path = format!("{FOLDER}/{machine}/profile.toml");
        let output = program(&["check", "--format", "json", "--profile", &path], &environment);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        for finding in report["findings"].as_array().unwrap() {
            // What is mounted is there in the Pod.
            let message = finding["message"].as_str().unwrap();
            let mounted =
                mounts.iter().any(|mount| message.contains(mount["mountPath"].as_str().unwrap()));
            assert!(mounted || finding["severity"] != "error", "{path}: {message}");
            assert!(!message.contains("default password"), "{path}: {message}");
        }
        let profile = merged(&[&read(&path)], &environment).document;
        assert_eq!(profile.name.as_ref().map(ToString::to_string), Some(machine.clone()));
        let stop_limit = u64::from(profile.power.stop_limit_s);
        let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
        assert!(stop_limit < grace, "{path}: {stop_limit} s of {grace} s");
        for disk in &profile.disks {
            assert!(disk.path.as_deref().unwrap().starts_with(mount_path("vm")), "{path}");
        }
    }
}
