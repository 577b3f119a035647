//! What a request must show before its event is looked up, and how a refusal reads. Pure: the order is the caller's.

use std::time::Duration;

use axum::http::{HeaderMap, Method, StatusCode, header};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{MAX_BODY, scan_event::is_scan_id, store::SignedHeaders};
use crate::{
    event::{Event, EventError},
    sign::{self, SigningSecret, VerifyError},
};

/// Headers of a signature that are longer are not kept for forwarding; sixteen signatures fit.
const HEADER_KEPT: usize = 2048;

pub(super) struct Checks {
    pub(super) token: Option<UrlToken>,
    pub(super) secrets: Vec<SigningSecret>,
    pub(super) tolerance: Duration,
}

/// The digest of a token: comparing digests tells nothing about the token, not even its length.
pub(super) struct UrlToken([u8; 32]);

/// Why a webhook was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("webhooks come by POST, this is {0}")]
    MethodNotAllowed(Method),
    #[error("the body is larger than {MAX_BODY} bytes")]
    TooLarge,
    #[error("webhooks are application/json, this is {0:?}")]
    UnsupportedType(String),
    #[error("the body did not come within {} s", .0.as_secs())]
    TooSlow(Duration),
    #[error("the body broke off")]
    BrokenOff,
    #[error("the receiver is busy with other bodies")]
    Overloaded,
    #[error("the URL's token is missing or wrong")]
    BadToken,
    #[error(transparent)]
    BadSignature(#[from] VerifyError),
    #[error(transparent)]
    BadEvent(#[from] EventError),
    #[error("scan_id is no scan id: scn_ and 26 letters and digits")]
    BadScanId,
    #[error("sequence counts from 1")]
    BadSequence,
    #[error("this scan was not submitted from here, or that is not yet known")]
    UnknownScan,
    #[error("the event cannot be stored now")]
    StoreUnavailable,
}

impl Checks {
    /// Method, declared length and type.
    pub(super) fn head(method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
        if method != Method::POST {
            return Err(Refusal::MethodNotAllowed(method.clone()));
        }
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > MAX_BODY as u64) {
            return Err(Refusal::TooLarge);
        }
        let content_type = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let content_type = content_type.unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(Refusal::UnsupportedType(content_type.chars().take(80).collect()));
        }
        Ok(())
    }

    /// Token, then signature, then what the body says.
    pub(super) fn content(&self, query: Option<&str>, headers: &HeaderMap, body: &[u8], now_secs: i64) -> Result<Event, Refusal> {
        self.token.as_ref().map_or(Ok(()), |token| token.check(query))?;
        if !self.secrets.is_empty() {
            let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
            let signed = sign::Headers {
                id: text(sign::ID_HEADER),
                timestamp: text(sign::TIMESTAMP_HEADER),
                signature: text(sign::SIGNATURE_HEADER),
            };
            sign::verify(&self.secrets, &signed, body, now_secs, self.tolerance)?;
        }
        let event = Event::parse(body)?;
        let scan = match &event {
            Event::ScanComplete(scan) => scan.as_ref(),
            Event::ScanVerdictUpdated(update) => &update.scan,
            Event::WebhookTest(_) | Event::Unknown { .. } => return Ok(event),
        };
        if !is_scan_id(&scan.scan_id) {
            return Err(Refusal::BadScanId);
        }
        if scan.sequence == 0 {
            return Err(Refusal::BadSequence);
        }
        Ok(event)
    }
}

impl UrlToken {
    /// `None`: too short, too long, or to be escaped in a URL.
    pub(super) fn new(token: &str) -> Option<Self> {
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        ((16..=256).contains(&token.len()) && token.bytes().all(unreserved)).then(|| Self(Sha256::digest(token).into()))
    }

    fn check(&self, query: Option<&str>) -> Result<(), Refusal> {
        let given = query.unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("token=")).unwrap_or_default();
        let same = self.0.ct_eq(&<[u8; 32]>::from(Sha256::digest(given)));
        if bool::from(same) { Ok(()) } else { Err(Refusal::BadToken) }
    }
}

impl SignedHeaders {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let text =
            |name| headers.get(name).and_then(|value| value.to_str().ok()).filter(|text| text.len() <= HEADER_KEPT).map(str::to_owned);
        Self { id: text(sign::ID_HEADER), timestamp: text(sign::TIMESTAMP_HEADER), signature: text(sign::SIGNATURE_HEADER) }
    }
}

impl Refusal {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::BrokenOff | Self::BadEvent(_) | Self::BadScanId | Self::BadSequence => StatusCode::BAD_REQUEST,
            Self::BadToken | Self::BadSignature(_) => StatusCode::UNAUTHORIZED,
            Self::Overloaded | Self::UnknownScan | Self::StoreUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::TooLarge => "too_large",
            Self::UnsupportedType(_) => "unsupported_media_type",
            Self::TooSlow(_) => "upload_too_slow",
            Self::BrokenOff | Self::BadEvent(_) | Self::BadScanId | Self::BadSequence => "validation_error",
            Self::BadToken => "invalid_token",
            Self::BadSignature(_) => "invalid_signature",
            Self::Overloaded => "overloaded",
            Self::UnknownScan => "unknown_scan",
            Self::StoreUnavailable => "storage_unavailable",
        }
    }

    /// In seconds.
    pub(super) fn retry_after(&self) -> Option<u32> {
        match self {
            Self::Overloaded | Self::UnknownScan | Self::StoreUnavailable => Some(5),
            Self::MethodNotAllowed(_)
            | Self::TooLarge
            | Self::UnsupportedType(_)
            | Self::TooSlow(_)
            | Self::BrokenOff
            | Self::BadToken
            | Self::BadSignature(_)
            | Self::BadEvent(_)
            | Self::BadScanId
            | Self::BadSequence => None,
        }
    }
}
