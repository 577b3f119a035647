//! `listen`: an account's events, brought to a developer's machine, and to a program on it, without a tunnel.
//!
//! An event counts as seen once it is printed and, where it is to be forwarded, taken with a 2xx; only then does the place move at which
//! the next start resumes. So each event comes once or more, in order, and none is lost.

mod filter;
mod forward;
mod place;
mod print;
mod sse;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use http_body_util::BodyExt as _;
use hyper::{Response, StatusCode, body::Incoming};
use tokio::time::{Instant, timeout};

use super::block_on;
use crate::{arguments::ListenArguments, client::Client, settings::SettingFlags, terminal::escaped};
use filter::Filter;
use forward::Forwarder;
use place::PlaceFile;
use print::Printer;
use sse::{Item, Message, Parser};

/// The service gives a sign of life every 15 s.
const SILENCE: Duration = Duration::from_secs(50);
/// Between two tries to reach the service.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A place without an event since the last one is written down so often.
const SAVE_EVERY: Duration = Duration::from_secs(60);

/// What listens, for as long as it does.
struct Listener {
    client: Client,
    filters: Vec<Filter>,
    forwarder: Option<Forwarder>,
    printer: Printer,
    place: PlaceFile,
    /// Whether the place is that of an event, which goes when its scan is erased.
    at_event: bool,
    saved_at: Instant,
}

/// Why a stream ended that is to be opened again.
enum Lost {
    /// It broke off, or could not be opened.
    Broken(String),
    /// The service asks to wait.
    Busy(Duration),
}

pub(super) fn run(arguments: ListenArguments, config: Option<PathBuf>) -> Result<u8> {
    let settings = SettingFlags::default().resolve(config)?;
    let client = Client::new(&settings)?;
    let filters = arguments.filter.iter().map(|text| text.parse()).collect::<Result<_>>()?;
    let folder = place::folder()?;
    let forwarder = arguments.forward_to.as_deref().map(|url| Forwarder::new(url, &settings, &folder)).transpose()?;
    let place = PlaceFile::open(&folder, &client, arguments.forward_to.as_deref())?;
    let printer = Printer::new(arguments.json);
    let mut listener = Listener { client, filters, forwarder, printer, place, at_event: true, saved_at: Instant::now() };
    if arguments.from_now {
        listener.place.forget()?;
    }
    block_on(listener.listen())
}

impl Listener {
    /// Ends with an error alone: that of a refusal that trying again does not cure, or of this machine.
    async fn listen(&mut self) -> Result<u8> {
        self.greet()?;
        let mut pause = PAUSE_MIN;
        let mut told = false;
        loop {
            let wait = match self.open().await? {
                Ok(response) => {
                    if told {
                        say("Listening again.")?;
                    }
                    (told, pause) = (false, PAUSE_MIN);
                    self.follow(response).await?
                }
                Err(lost) => lost,
            };
            let (reason, wait) = match wait {
                Lost::Broken(reason) => (reason, pause),
                Lost::Busy(wait) => ("the service is busy".to_owned(), wait.max(pause)),
            };
            if !told {
                say(&format!("Not connected: {}. Trying again.", escaped(&reason)))?;
                told = true;
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn greet(&self) -> Result<()> {
        say(&format!("Listening to {}.", escaped(self.client.url().as_str())))?;
        if let Some(forwarder) = &self.forwarder {
            say(&format!("Forwarding to {}.", escaped(forwarder.url())))?;
            say(&format!("Signed with {} (this machine's own; the service's secret stays there).", forwarder.secret().expose_text()))?;
        }
        if self.place.is_known() {
            say("Going on where it stopped; --from-now forgets that place.")?;
        }
        Ok(())
    }

    /// Opens the stream at the place reached.
    async fn open(&self) -> Result<Result<Response<Incoming>, Lost>> {
        let place = self.place.get();
        let headers: Vec<_> = place.iter().map(|place| ("last-event-id", *place)).collect();
        let response = match self.client.open("/v1/events", &headers).await {
            Ok(response) => response,
            Err(error) => return Ok(Err(Lost::Broken(format!("{error:#}")))),
        };
        match response.status() {
            StatusCode::OK => Ok(Ok(response)),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                let seconds = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
                Ok(Err(Lost::Busy(Duration::from_secs(seconds.unwrap_or(1)).min(Duration::from_secs(60)))))
            }
            status if status.is_server_error() => Ok(Err(Lost::Broken(format!("the service answered {status}")))),
            StatusCode::UNAUTHORIZED => bail!("the service does not know the key in FILESAFETY_API_KEY (401)"),
            status => bail!("the service at {} answered {status}; is this FileSafety?", self.client.url()),
        }
    }

    /// Takes what the stream brings until it ends.
    async fn follow(&mut self, response: Response<Incoming>) -> Result<Lost> {
        let (mut body, mut parser) = (response.into_body(), Parser::default());
        loop {
            let frame = match timeout(SILENCE, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return Ok(Lost::Broken(format!("the stream broke off: {error}"))),
                Ok(None) => return Ok(Lost::Broken("the service ended the stream".to_owned())),
                Err(_) => return Ok(Lost::Broken(format!("no sign of life for {} s", SILENCE.as_secs()))),
            };
            let Ok(bytes) = frame.into_data() else { continue };
            let Ok(items) = parser.feed(&bytes) else { bail!("the stream has a line without an end; is this FileSafety?") };
            for item in items {
                self.take(item).await?;
            }
        }
    }

    async fn take(&mut self, item: Item) -> Result<()> {
        match item {
            Item::Message(message) if message.event == "gap" => {
                self.printer.gap(&message)?;
                say("Events may be missing here: the last one seen is older than the service keeps them, or not known to it.")
            }
            Item::Message(message) => self.take_event(&message).await,
            Item::Place(place) => {
                self.place.set(&place);
                if self.at_event || self.saved_at.elapsed() >= SAVE_EVERY {
                    self.at_event = false;
                    self.save()?;
                }
                Ok(())
            }
        }
    }

    async fn take_event(&mut self, message: &Message) -> Result<()> {
        let body: serde_json::Value = serde_json::from_str(&message.data).context("the stream has an event that is no JSON")?;
        if self.filters.iter().all(|filter| filter.matches(&body)) {
            self.printer.event(message, &body)?;
            if let Some(forwarder) = &self.forwarder {
                let taken = forwarder.forward(message, |failure| say(&format!("  {failure}"))).await?;
                self.printer.forwarded(&taken)?;
            }
        }
        if let Some(id) = &message.id {
            self.place.set(id);
            self.at_event = true;
        }
        self.save()
    }

    fn save(&mut self) -> Result<()> {
        self.saved_at = Instant::now();
        self.place.save()
    }
}

/// To people; standard output is for events.
fn say(text: &str) -> Result<()> {
    Ok(writeln!(io::stderr(), "{text}")?)
}
