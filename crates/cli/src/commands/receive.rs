//! `receive`: takes webhooks in for an application in any language.

mod forward;
mod inbox;
mod program;
mod settings;
mod sources;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use filesafety::receiver::{Builder, Receiver, Route, sqlite::SqliteStore};
use filesafety_server::{ServeError, config::TlsFiles, listen::Listener};
use tokio::sync::watch;

use super::{CLEAN, serve::stop_signal};
use crate::{
    arguments::{ReceiveArguments, ReceiveCommand},
    logging::{self, LogFormat},
};
use forward::Forward;
use settings::{Settings, Target};

/// Requests under way at the end get this long.
const DRAIN: Duration = Duration::from_secs(10);

/// A program that is at its limit is killed and told of; only then the receiver gives the handler up.
const AFTER_LIMIT: Duration = Duration::from_secs(10);

pub(super) fn run(mut arguments: ReceiveArguments, config: Option<PathBuf>) -> Result<u8> {
    match arguments.command.take() {
        Some(ReceiveCommand::Add { scans, inbox }) => inbox::add(&scans, &inbox, config.as_deref()),
        Some(ReceiveCommand::Dead(command)) => inbox::dead(command, config.as_deref()),
        None => {
            let settings = Settings::of_process(&arguments, config.as_deref())?;
            logging::start(&settings.log, settings.log_format).context("log")?;
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            let outcome = runtime.block_on(receive(settings));
            runtime.shutdown_timeout(Duration::from_secs(1));
            outcome.map(|()| CLEAN)
        }
    }
}

async fn receive(settings: Settings) -> Result<()> {
    let stop = stop_signal()?;
    let webhooks = bind(settings.listen, settings.tls.as_ref(), "listen").await?;
    let status = match settings.status_listen {
        Some(address) => Some(bind(address, None, "status_listen").await?),
        None => None,
    };
    let store = SqliteStore::open(&settings.store).with_context(|| format!("store is {}", settings.store.display()))?;
    let receiver = build(&settings, store)?;
    greet(&settings, &webhooks, status.as_ref())?;
    let (ending, ended) = watch::channel(false);
    let taking = tokio::spawn(webhooks.serve(receiver.router(&settings.path), stop.clone(), DRAIN));
    // The page stays until the last handler has ended.
    let showing = status.map(|status| tokio::spawn(status.serve(receiver.status_router(), ended, Duration::from_secs(1))));
    taking.await?;
    tracing::info!("stopping: handlers that run may finish");
    receiver.shutdown(settings.time_limit + AFTER_LIMIT).await;
    ending.send_replace(true);
    if let Some(showing) = showing {
        showing.await?;
    }
    Ok(())
}

fn build(settings: &Settings, store: SqliteStore) -> Result<Receiver> {
    let mut builder = Receiver::builder(store)
        .retries(settings.retries.iter().copied())
        .handlers_at_once(settings.at_once)
        .handler_time(settings.time_limit + AFTER_LIMIT)
        .retention(settings.retention);
    for secret in &settings.secrets {
        builder = builder.secret(secret.clone());
    }
    if let Some(token) = &settings.token {
        builder = builder.token(token.clone());
    }
    if settings.pending_set {
        builder = builder.pending_set();
    }
    Ok(handlers(builder, settings).build()?)
}

fn handlers(builder: Builder, settings: &Settings) -> Builder {
    match &settings.target {
        Target::Forward(url) => {
            let forward = Arc::new(Forward::new(url.clone(), settings.secrets.clone(), settings.time_limit));
            builder.otherwise(move |event| {
                let forward = Arc::clone(&forward);
                async move { forward.post(&event).await }
            })
        }
        Target::Programs(programs) => {
            let mut builder = builder.otherwise(|event| async move {
                tracing::info!(scan_id = %event.scan_id, verdict = ?event.verdict, "no program is set for this verdict");
                Ok(())
            });
            for (route, program) in programs {
                let (program, limit) = (Arc::new(program.clone()), settings.time_limit);
                builder = builder.on(route.clone(), move |event| {
                    let program = Arc::clone(&program);
                    async move { program.run(&event, limit).await }
                });
            }
            builder
        }
    }
}

async fn bind(address: std::net::SocketAddr, tls: Option<&TlsFiles>, setting: &str) -> Result<Listener> {
    Listener::bind(address, tls).await.map_err(|error| match error {
        ServeError::Bind { address, source } => {
            anyhow!("cannot listen on {address}: {source}. Is another program using the port? {setting} chooses another")
        }
        other => other.into(),
    })
}

/// Where it listens, and what it does not do.
fn greet(settings: &Settings, webhooks: &Listener, status: Option<&Listener>) -> Result<()> {
    let url = format!("{}{}", webhooks.url()?, settings.path);
    let mut lines = vec![format!("listening on {url}")];
    if let Some(status) = status {
        lines.push(format!("status page on {}", status.url()?));
    }
    if settings.secrets.is_empty() {
        lines.push("no signing secret is set: only scans that were added are taken (filesafety receive add, or POST /pending)".into());
    }
    let ignored = settings.ignored();
    if !ignored.is_empty() {
        lines.push(format!("no program is set for {}: these are acknowledged and logged", ignored.join(", ")));
    }
    for line in lines {
        match settings.log_format {
            // A closed stderr is no reason not to receive.
            LogFormat::Text => drop(writeln!(io::stderr(), "{line}")),
            LogFormat::Json => tracing::info!("{line}"),
        }
    }
    Ok(())
}

/// Where a program is set, by the words of the settings.
fn route_name(route: &Route) -> String {
    match route {
        Route::Context(context) => format!("context.{context}"),
        Route::Verdict(verdict) => format!("on.{}", settings::verdict_name(*verdict)),
        Route::Otherwise => "on.any".into(),
    }
}
