//! The only code of FileSafety that reads file content.
//!
//! [`Engine`] holds what is loaded once (rules, hash lists, the image model); a [`Worker`] is what one thread scans with.

mod budget;
mod clamd;
mod filetype;
mod hashes;
mod nsfw;
mod pipeline;
mod unpack;
mod yara;
