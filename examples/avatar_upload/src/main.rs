//! Runs the example. `FILESAFETY_API_KEY` and `FILESAFETY_WEBHOOK_SECRET` are those of the service; `FILESAFETY_URL` says where it is,
//! `AVATAR_LISTEN` and `AVATAR_FOLDER` where this application is and what it keeps.

use std::env;

use anyhow::{Context as _, Result};
use avatar_upload::{App, Settings};

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt().init();
    let or = |name: &str, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let needed = |name: &str| env::var(name).with_context(|| format!("set {name} to the service's"));
    let app = App::start(Settings {
        listen: or("AVATAR_LISTEN", "127.0.0.1:3000").parse().context("AVATAR_LISTEN is no address")?,
        folder: or("AVATAR_FOLDER", "avatars").into(),
        service: or("FILESAFETY_URL", "http://127.0.0.1:8080"),
        key: needed("FILESAFETY_API_KEY")?,
        secret: needed("FILESAFETY_WEBHOOK_SECRET")?.parse().context("FILESAFETY_WEBHOOK_SECRET")?,
    })
    .await?;
    tracing::info!("listening on http://{}", app.address());
    app.run(async {
        // Without a way to be told, it runs until it is killed, which loses nothing.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
    .await
}
