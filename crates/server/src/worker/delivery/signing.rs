//! The headers of a webhook: who sends it, and the signature that proves it.

use filesafety::sign;
use filesafety_model::{EventId, Timestamp};
use http::{HeaderMap, HeaderValue, header};

use super::secrets::Signing;
use crate::egress;

/// What is sent with the body of `event` at `now`: the identifying headers of Standard Webhooks, signed with every secret, and the
/// account's own.
pub(super) fn headers(signing: &Signing, event: EventId, now: Timestamp, body: &[u8]) -> HeaderMap {
    let (id, seconds) = (event.to_string(), now.as_millis().div_euclid(1000));
    let signature = sign::sign_with(&signing.signers, &id, seconds, body);
    let value = |text: String| HeaderValue::try_from(text).expect("ids, numbers and base64 are visible ASCII");
    // Before ours, which take the place of any of the same name.
    let mut headers = signing.headers.clone();
    headers.insert(header::USER_AGENT, HeaderValue::from_static(egress::USER_AGENT));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(sign::ID_HEADER, value(id));
    headers.insert(sign::TIMESTAMP_HEADER, value(seconds.to_string()));
    headers.insert(sign::SIGNATURE_HEADER, value(signature));
    headers
}
