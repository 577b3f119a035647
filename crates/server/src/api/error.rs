//! What a caller is told when something is refused. The only place where other layers' errors become answers.

use axum::{
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use filesafety_model::ScanId;
use filesafety_store::StoreError;
use serde::Serialize;
use utoipa::ToSchema;

use crate::intake::{BodyFault, MultipartError};

/// Every code that an error can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ErrorCode {
    ValidationError,
    InvalidApiKey,
    ScanNotFound,
    NotFound,
    MethodNotAllowed,
    UploadTooSlow,
    UnsupportedMediaType,
    UploadConflict,
    IdempotencyConflict,
    IdempotencyInProgress,
    ScanInProgress,
    NoWebhook,
    DeliveryInProgress,
    UploadExpired,
    FileTooLarge,
    FetchFailed,
    FetchRefused,
    FetchTooLarge,
    QuotaExceeded,
    RateLimited,
    InternalError,
    UpstreamError,
    Overloaded,
    StorageUnavailable,
}

impl ErrorCode {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::ValidationError => StatusCode::BAD_REQUEST,
            Self::InvalidApiKey => StatusCode::UNAUTHORIZED,
            Self::ScanNotFound | Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::UploadTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::UploadConflict
            | Self::IdempotencyConflict
            | Self::IdempotencyInProgress
            | Self::ScanInProgress
            | Self::NoWebhook
            | Self::DeliveryInProgress => StatusCode::CONFLICT,
            Self::UploadExpired => StatusCode::GONE,
            Self::FileTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::FetchFailed | Self::FetchRefused | Self::FetchTooLarge => StatusCode::UNPROCESSABLE_ENTITY,
            Self::QuotaExceeded | Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::UpstreamError => StatusCode::BAD_GATEWAY,
            Self::Overloaded | Self::StorageUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// A refusal.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    code: ErrorCode,
    message: String,
    scan: Option<ScanId>,
    /// Seconds.
    retry_after: Option<u64>,
    /// Boxed to keep every `Result` of the handlers small.
    allow: Option<Box<HeaderValue>>,
}

impl ApiError {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), scan: None, retry_after: None, allow: None }
    }

    pub(crate) fn validation(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::ValidationError, message)
    }

    pub(crate) fn scan_not_found() -> Self {
        Self::new(ErrorCode::ScanNotFound, "There is no such scan.")
    }

    pub(crate) fn file_too_large(limit: u64) -> Self {
        Self::new(ErrorCode::FileTooLarge, format!("The file is larger than the limit of {limit} bytes."))
    }

    pub(crate) fn overloaded() -> Self {
        Self::new(ErrorCode::Overloaded, "Too many scans are waiting; try again in a moment.").retry_after(5)
    }

    pub(crate) fn draining() -> Self {
        Self::new(ErrorCode::Overloaded, "The service is shutting down; try again in a moment.").retry_after(5)
    }

    /// A fault of ours; its cause goes to the log, never to the caller.
    pub(crate) fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed");
        Self::new(ErrorCode::InternalError, "Something went wrong on our side; the request id helps to find it in the log.")
    }

    pub(crate) fn about(mut self, scan: ScanId) -> Self {
        self.scan = Some(scan);
        self
    }

    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds.max(1));
        self
    }

    pub(crate) fn allow(mut self, methods: HeaderValue) -> Self {
        self.allow = Some(Box::new(methods));
        self
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::scan_not_found(),
            StoreError::Unavailable(_) => {
                tracing::warn!(%error, "the store is unavailable");
                Self::new(ErrorCode::StorageUnavailable, "The storage does not take anything at the moment; nothing was accepted.")
                    .retry_after(5)
            }
            StoreError::Conflict(_) | StoreError::LeaseLost | StoreError::Corrupt(_) => Self::internal(&error),
        }
    }
}

impl From<BodyFault> for ApiError {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::TooSlow => Self::new(
                ErrorCode::UploadTooSlow,
                "The upload is too slow; send at least 1 KiB per second, and all of it within the time limit.",
            ),
            BodyFault::Broken => Self::validation("The body ended before its time; send it again, whole."),
        }
    }
}

impl From<MultipartError> for ApiError {
    fn from(error: MultipartError) -> Self {
        match error {
            MultipartError::Body(fault) => fault.into(),
            MultipartError::NoBoundary
            | MultipartError::Truncated
            | MultipartError::HeadersTooLong
            | MultipartError::TooManyParts
            | MultipartError::Malformed(_) => Self::validation(error.to_string()),
        }
    }
}

/// The body of every refusal.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// A sentence for a person.
    error: String,
    code: ErrorCode,
    /// In a 5xx: names the request in the service's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    /// Where a scan exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    scan_id: Option<ScanId>,
}

impl IntoResponse for ApiError {
    /// The body is written by [`finish_answer`], which knows the request's id.
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives every answer its `x-request-id`, and every refusal its body.
pub(crate) async fn finish_answer(request: Request, next: Next) -> Response {
    let id = request_id();
    let mut response = next.run(request).await;
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        let body = ErrorBody {
            request_id: error.code.status().is_server_error().then(|| id.clone()),
            error: error.message,
            code: error.code,
            scan_id: error.scan,
        };
        if error.code.status().is_server_error() {
            tracing::warn!(request_id = %id, code = ?error.code, "answered with an error");
        }
        let mut answer = (error.code.status(), axum::Json(body)).into_response();
        std::mem::swap(answer.extensions_mut(), response.extensions_mut());
        answer.headers_mut().extend(
            response.headers_mut().drain().filter_map(|(name, value)| Some((name?, value))).filter(|(name, _)| !is_body_header(name)),
        );
        if let Some(seconds) = error.retry_after {
            answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(methods) = error.allow {
            answer.headers_mut().insert(header::ALLOW, *methods);
        }
        response = answer;
    }
    if let Ok(value) = HeaderValue::try_from(id) {
        response.headers_mut().insert("x-request-id", value);
    }
    response
}

fn is_body_header(name: &header::HeaderName) -> bool {
    name == header::CONTENT_LENGTH || name == header::CONTENT_TYPE
}

fn request_id() -> String {
    let mut bytes = [0; 12];
    // Without entropy the id repeats; a request must not fail for that.
    let _ = getrandom::fill(&mut bytes);
    format!("req_{}", data_encoding::BASE64URL_NOPAD.encode(&bytes))
}
