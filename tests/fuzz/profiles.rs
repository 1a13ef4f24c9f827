//! Profiles with mistakes: every one gets a plan, or is told why not.

use qemu_bmc::plan::make;
use qemu_bmc::profile::diagnostic::render;
use qemu_bmc::profile::{Severity, load};

use crate::case;
use crate::fuzz;
use crate::mutate::mutate_text;

#[test]
fn profiles() {
    let cases = case::all();
    let of_all = |take: fn(&case::Case) -> Vec<String>| -> Vec<String> {
        cases.iter().flat_map(take).collect()
    };
    let texts = of_all(|case| case.inputs.files.iter().map(|file| file.text.clone()).collect());
    let sets = of_all(|case| case.inputs.sets.clone());
    let values =
        of_all(|case| case.inputs.environment.iter().map(|(_, value)| value.clone()).collect());
    fuzz("profiles", |random| {
        let case = random.pick(&cases);
        let mut inputs = case.inputs.clone();
        for file in &mut inputs.files {
            file.text = mutate_text(random, &file.text, &texts);
        }
        for (_, value) in &mut inputs.environment {
            if random.once_in(2) {
                *value = mutate_text(random, value, &values);
            }
        }
        if random.once_in(4) {
            let set = random.pick(&sets).clone();
            inputs.sets.push(mutate_text(random, &set, &sets).trim_end().to_owned());
        }
        let facts = case.host();
        let made = make(load(&inputs, Vec::new()), true, |_| facts);
        let errors = made.findings.iter().any(|finding| finding.severity == Severity::Error);
        assert_eq!(made.plan.is_none(), errors, "{:#?}", made.findings);
        let text = render(&made.findings, &made.sources, false);
        assert_eq!(text.is_empty(), made.findings.is_empty());
        if let Some((_, plan)) = made.plan {
            assert!(!plan.text().is_empty());
        }
    });
}
