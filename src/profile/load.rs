//! All layers to a checked profile, with all that is to be said of it.

use crate::profile::check::{Profile, check_all};
use crate::profile::diagnostic::{At, Finding, Severity};
use crate::profile::layers::{Inputs, merge};
use crate::profile::sources::Sources;

/// A profile and all that is to be said of it.
#[derive(Debug)]
pub struct Loaded {
    /// The profile, if no finding is an error.
    pub profile: Option<Profile>,
    /// The profile as far as it goes, if a finding is an error: what else is wrong with it can be
    /// found out, and nothing else may be done with it.
    pub broken: Option<Profile>,
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
    let mut profile = None;
    if !incomplete {
        let (checked, more) = check_all(&merged.document, &merged.sources, &inputs.ambient);
        extend(&mut findings, more);
        profile = checked;
    }
    let broken = profile.take_if(|_| failed(&findings));
    Loaded { profile, broken, sources: merged.sources, findings }
}

/// Adds what is new: a key that was wrong stands at its default or is missing, about which nobody
/// wants to hear.
pub(crate) fn extend(findings: &mut Vec<Finding>, more: Vec<Finding>) {
    let new = |finding: &Finding| match &finding.at {
        At::Key(key) => findings.iter().all(|known| match &known.at {
            At::Key(wrong) | At::Name(wrong) => !key.contains(wrong),
            At::Origin { .. } | At::Nowhere => true,
        }),
        At::Nowhere => true,
        _ => findings.iter().all(|known| known.at != finding.at),
    };
    let new: Vec<Finding> = more.into_iter().filter(new).collect();
    findings.extend(new);
}

/// One of them is an error.
#[must_use]
pub fn failed(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Error)
}
