//! All layers to a checked profile, with all that is to be said of it.

use crate::profile::check::{Profile, check};
use crate::profile::diagnostic::{At, Finding, Severity};
use crate::profile::layers::{Inputs, merge};
use crate::profile::sources::Sources;

/// A profile and all that is to be said of it.
#[derive(Debug)]
pub struct Loaded {
    /// The profile, if no finding is an error.
    pub profile: Option<Profile>,
    /// Which layer set what.
    pub sources: Sources,
    /// Errors and warnings.
    pub findings: Vec<Finding>,
}

/// Merges and checks. `unread` tells of the profile files that are not in `inputs`, because they
/// could not be read.
#[must_use]
pub fn load(inputs: &Inputs, unread: Vec<Finding>) -> Loaded {
    let merged = merge(inputs);
    // Without one of its files, the rest of the profile would be blamed for what is missing.
    let incomplete = merged.incomplete || !unread.is_empty();
    let mut findings = unread;
    findings.extend(merged.findings);
    let profile = match check(&merged.document, &merged.sources, &inputs.ambient) {
        _ if incomplete => None,
        Ok((profile, warnings)) => {
            extend(&mut findings, warnings);
            Some(profile)
        }
        Err(errors) => {
            extend(&mut findings, errors);
            None
        }
    };
    let profile = profile.filter(|_| !failed(&findings));
    Loaded { profile, sources: merged.sources, findings }
}

/// Adds what is new: a key that was wrong stands at its default, about which nobody wants to hear.
fn extend(findings: &mut Vec<Finding>, more: Vec<Finding>) {
    let new = |finding: &Finding| {
        finding.at == At::Nowhere || findings.iter().all(|known| known.at != finding.at)
    };
    let new: Vec<Finding> = more.into_iter().filter(new).collect();
    findings.extend(new);
}

/// One of them is an error.
#[must_use]
pub fn failed(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Error)
}
