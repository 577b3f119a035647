//! Landlock: a process that may neither open a file nor a connection.

use landlock::{ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus, Scope};

/// The newest rights that are known here; an older kernel denies those that it knows.
const KNOWN: ABI = ABI::V6;
/// Without these a kernel's Landlock is none: all that the first version had.
const NEEDED: ABI = ABI::V1;

/// Denies everything: a ruleset without a rule. Descriptors that are open stay so.
pub(super) fn apply() -> Result<(), String> {
    let told = |error: landlock::RulesetError| error.to_string();
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(NEEDED))
        .map_err(told)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))
        .map_err(told)?
        .handle_access(AccessNet::from_all(KNOWN))
        .map_err(told)?
        .scope(Scope::from_all(KNOWN))
        .map_err(told)?
        .create()
        .map_err(told)?
        .restrict_self()
        .map_err(told)?;
    match status.ruleset {
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
        RulesetStatus::NotEnforced => Err("this kernel has no Landlock, or it is not switched on".to_owned()),
    }
}
