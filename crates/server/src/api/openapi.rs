//! `GET /openapi.json`: made from the handlers, so that it cannot drift from them.

use axum::Json;
use utoipa::{
    Modify, OpenApi, ToSchema,
    openapi::security::{ApiKey, ApiKeyValue, SecurityScheme},
};

/// The form of a file submission. Parts come in any order.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the fields describe the form; the reader in `intake` takes it apart")]
pub(crate) struct ScanForm {
    /// The file.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
    /// https, at most 2,048 characters, no credentials: where the result is posted.
    webhook_url: Option<String>,
    /// A JSON object of at most 4 KiB, which comes back value for value.
    metadata: Option<String>,
    /// A JSON list of `virus` and `nsfw`; both by default.
    scan_types: Option<String>,
    /// A JSON list of what the webhook tells: `scan.complete`, `scan.verdict_updated`; the account's list by default.
    events: Option<String>,
    /// The password of the archive or document, at most 512 bytes; kept encrypted until the verdict, and never shown.
    archive_password: Option<String>,
}

/// The JSON form of a submission.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the fields describe the body; the reader in `intake` takes it apart")]
pub(crate) struct ScanJson {
    /// Fetched and scanned; without it the answer is an upload URL.
    url: Option<String>,
    /// https, at most 2,048 characters, no credentials: where the result is posted.
    webhook_url: Option<String>,
    /// An object of at most 4 KiB, which comes back value for value.
    #[schema(value_type = Option<Object>)]
    metadata: Option<()>,
    /// `virus`, `nsfw` or both; both by default.
    scan_types: Option<Vec<String>>,
    /// What the webhook tells: `scan.complete`, `scan.verdict_updated`; the account's list by default.
    events: Option<Vec<String>>,
    /// The password of the archive or document, at most 512 bytes; kept encrypted until the verdict, and never shown.
    archive_password: Option<String>,
}

/// The whole description.
#[derive(OpenApi)]
#[openapi(
    info(title = "FileSafety", description = "Scan uploads for malware and unsafe imagery before you keep them.", license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")),
    paths(
        super::scan::submit, super::scan::submit_async, super::scan::show, super::scan::delete, super::scans::list, super::upload::put,
        super::deliveries::list, super::deliveries::redeliver, super::delivery_list::list, super::deliveries::test, super::events::stream, super::usage::show,
        super::health::live, super::health::ready, super::health::metrics
    ),
    tags(
        (name = "Scans", description = "Send files, read verdicts"), (name = "Uploads", description = "Let a browser send the file itself"),
        (name = "Webhooks", description = "Be told when a scan has finished"), (name = "Account", description = "What the account has used"), (name = "Service", description = "For the operator")
    ),
    modifiers(&Security)
)]
pub(crate) struct Description;

struct Security;

impl Modify for Security {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description("x-api-key", "`fs_live_…`")));
        api.components.get_or_insert_default().add_security_scheme("api_key", scheme);
    }
}

pub(crate) async fn show() -> Json<utoipa::openapi::OpenApi> {
    Json(Description::openapi())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_of_the_description_is_seen() {
        let mut description = Description::openapi();
        "[version]".clone_into(&mut description.info.version);
        insta::assert_json_snapshot!(description);
    }
}
