//! A loaded profile and a host to a plan, or to the findings that stand in its way.

use crate::plan::{HostFacts, Plan, preconditions, render};
use crate::profile::diagnostic::At;
use crate::profile::load::{Loaded, extend, failed};
use crate::profile::{Fault, Finding, Profile, Severity, Sources};

/// A plan and all that is to be said of it.
#[derive(Debug)]
pub struct Made {
    /// The plan with its profile, if no finding is an error.
    pub plan: Option<(Profile, Plan)>,
    /// Which layer set what.
    pub sources: Sources,
    /// Errors and warnings.
    pub findings: Vec<Finding>,
}

/// Asks `probe` for the facts that the profile depends on, and renders the plan.
///
/// `strict`: what the host lacks is an error; otherwise, for who only wants to see the plan, a
/// warning.
#[must_use]
pub fn make(loaded: Loaded, strict: bool, probe: impl FnOnce(&Profile) -> HostFacts) -> Made {
    let Loaded { profile, broken, sources, mut findings } = loaded;
    let Some(profile) = profile else {
        if let Some(profile) = broken {
            let mut more = preconditions(&profile, &sources, &probe(&profile));
            // What nobody has set may stand in the place of what was wrong.
            more.retain(|finding| matches!(&finding.at, At::Key(key) if !sources.is_default(key)));
            extend(&mut findings, more);
        }
        return Made { plan: None, sources, findings };
    };
    let facts = probe(&profile);
    for mut finding in preconditions(&profile, &sources, &facts) {
        if !strict && finding.fault == Fault::Host {
            finding.severity = Severity::Warning;
        }
        findings.push(finding);
    }
    let plan = (!failed(&findings)).then(|| render(&profile, &facts));
    Made { plan: plan.map(|plan| (profile, plan)), sources, findings }
}
