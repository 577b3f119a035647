//! Workbooks in Excel's binary formats: the macros of version 4, which are formulas in sheets of their own, as text; what links and names
//! do; pictures.

mod binary;
mod formula;
mod functions;
mod macros;
mod records;
#[cfg(test)]
mod tests;

pub(crate) use binary::{open as open_binary, starts as binary_starts};
pub(crate) use macros::{Sheet, judge_name};
pub(crate) use records::{Records, encryption_header, open};
