//! An account's webhook URL, checked as the service checks a scan's.

use anyhow::{Result, anyhow};
use filesafety_server::{
    config::Config,
    egress::{WebhookUrl, WebhookUrlPolicy},
};
use filesafety_store::WebhookTarget;

/// What `--webhook-url` names; `none` takes it away.
pub(super) fn target(text: &str, config: &Config) -> Result<Option<WebhookTarget>> {
    if text == "none" {
        return Ok(None);
    }
    let policy = WebhookUrlPolicy { allow_http: config.webhooks.allow_http, allow_nets: config.webhooks.allow_nets.clone() };
    let url = WebhookUrl::parse(text, &policy).map_err(|error| anyhow!("--webhook-url {error}"))?;
    Ok(Some(WebhookTarget { url_host: url.host_shown(), url: url.as_str().to_owned() }))
}
