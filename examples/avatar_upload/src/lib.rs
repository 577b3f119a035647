//! An application that takes pictures from strangers: form, scan, webhook, and what follows of the verdict.
//!
//! An upload is kept apart under a random name, submitted, and shown to nobody but those who review until the webhook says `clean`.
//! The webhook's effect is one commit with its mark, so each counts once; the row is the gate, no file is ever moved.

mod avatars;
mod moderation;
mod page;
mod web;

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use axum::Router;
use filesafety::{
    Client, SigningSecret,
    receiver::{PendingSet, Receiver, sqlite::SqliteStore},
};
use tokio::net::TcpListener;

use avatars::Avatars;
use moderation::Desk;

/// Where things are.
pub struct Settings {
    /// Where this application listens.
    pub listen: SocketAddr,
    /// Its database and the files it was given.
    pub folder: PathBuf,
    /// The address of the scanning service.
    pub service: String,
    /// An API key of the service.
    pub key: String,
    /// What the service signs its webhooks with.
    pub secret: SigningSecret,
}

/// The application, listening.
pub struct App {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    receiver: Receiver,
}

/// Where the service posts its webhooks.
const HOOK: &str = "/webhooks/filesafety";

impl App {
    /// Opens the database and the port, and submits anew what was left unfinished.
    pub async fn start(settings: Settings) -> Result<Self> {
        let files = settings.folder.join("files");
        fs::create_dir_all(&files).with_context(|| format!("cannot make {}", files.display()))?;
        let database = settings.folder.join("avatars.db");
        let store = SqliteStore::open(&database)?;
        let avatars = Avatars::open(&database)?;
        let listener = TcpListener::bind(settings.listen).await.with_context(|| format!("cannot listen on {}", settings.listen))?;
        let address = listener.local_addr()?;
        let desk = Desk {
            client: Client::new(settings.service, settings.key)?,
            avatars,
            files,
            pending: PendingSet::new(store.clone()),
            webhook_url: format!("http://{address}{HOOK}"),
        };
        let receiver = moderation::receiver(&desk, store, settings.secret)?;
        tokio::spawn(desk.clone().resume());
        let router = receiver.router(HOOK).merge(web::router(desk));
        Ok(Self { listener, address, router, receiver })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is ready, then ends what is under way.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        axum::serve(self.listener, self.router).with_graceful_shutdown(stop).await?;
        self.receiver.shutdown(Duration::from_secs(10)).await;
        Ok(())
    }
}
