//! What an application uses to talk to [FileSafety](https://github.com/filesafety/filesafety), the self-hosted file scanning service.
//!
//! - [`SigningSecret`], [`sign`](sign::sign) and [`verify`](sign::verify): webhook signatures after Standard Webhooks.
//! - [`Event`]: what a webhook's body says. [`Scan`]: what the service's answers say.
//! - `Client` (feature `client`): submits files and asks for their verdicts.
//! - `receiver` (feature `receiver`): receives webhooks, checked, durable, each handled once.
//!
//! ```
//! use filesafety::{Event, SigningSecret, sign};
//!
//! # fn receive(header: impl Fn(&str) -> Option<String>, body: &[u8], now_secs: i64) -> Result<(), Box<dyn std::error::Error>> {
//! let secret: SigningSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse()?;
//! let (id, timestamp, signature) = (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"));
//! let headers = sign::Headers { id: id.as_deref(), timestamp: timestamp.as_deref(), signature: signature.as_deref() };
//! sign::verify(&[secret], &headers, body, now_secs, sign::TOLERANCE)?;
//! match Event::parse(body)? {
//!     Event::ScanComplete(scan) => println!("{} is {:?}", scan.scan_id, scan.verdict),
//!     _ => {} // Acknowledge what is of no interest.
//! }
//! # Ok(())
//! # }
//! ```
#![warn(missing_docs)]

#[cfg(feature = "client")]
pub mod client;
pub mod event;
#[cfg(feature = "receiver")]
pub mod receiver;
pub mod scan;
pub mod sign;

#[cfg(feature = "client")]
pub use client::{Client, ClientError, FileSource};
pub use event::Event;
pub use scan::Scan;
pub use sign::SigningSecret;
