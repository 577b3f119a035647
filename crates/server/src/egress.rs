//! Everything that leaves: webhooks and the fetches of `url` scans. No other module opens a connection to the outside.
//!
//! - [`WebhookSender`] makes one attempt to deliver; it never follows a redirect and reads little of the answer.
//! - [`Fetcher`] downloads; it follows a few redirects, each judged like the first URL.
//! - [`AddressPolicy`] decides which addresses either may reach, at the moment of connecting.

mod address;
mod connect;
mod fetch;
mod retry_after;
mod send;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tls;
mod webhook_url;

pub use address::{AddressPolicy, AddressRefused, IpNet, IpNetError, is_public};
pub use fetch::{Download, FetchError, FetchUrl, FetchUrlError, Fetcher};
pub use send::{Outcome, SendError, SendErrorKind, WebhookRequest, WebhookSender};
pub use tls::{RootsError, trusted_roots};
pub use webhook_url::{WebhookUrl, WebhookUrlError, WebhookUrlPolicy};

/// What every outgoing request says of its sender.
pub(crate) const USER_AGENT: &str = concat!("FileSafety/", env!("CARGO_PKG_VERSION_MAJOR"), ".", env!("CARGO_PKG_VERSION_MINOR"));
