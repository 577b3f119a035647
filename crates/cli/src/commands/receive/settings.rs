//! The checked settings of `receive`. What is wrong is named with where it stands and what would be right.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, anyhow, bail};
use filesafety::{SigningSecret, event::Verdict, receiver::Route};
use filesafety_server::config::TlsFiles;

use super::{
    forward::ForwardUrl,
    program::Program,
    route_name,
    sources::{Given, GivenProgram, Sources},
};
use crate::{arguments::ReceiveArguments, logging::LogFormat};

const VERDICTS: [Verdict; 5] = [Verdict::Clean, Verdict::Infected, Verdict::Nsfw, Verdict::Mixed, Verdict::Failed];

/// Programs at once; each may hold memory and a core.
const AT_ONCE_MAX: usize = 256;
const RETRIES_MAX: usize = 20;

#[derive(Debug)]
pub(super) struct Settings {
    pub(super) listen: SocketAddr,
    pub(super) path: String,
    pub(super) status_listen: Option<SocketAddr>,
    pub(super) tls: Option<TlsFiles>,
    pub(super) store: PathBuf,
    pub(super) secrets: Vec<SigningSecret>,
    pub(super) token: Option<String>,
    pub(super) pending_set: bool,
    pub(super) retries: Vec<Duration>,
    pub(super) at_once: usize,
    pub(super) time_limit: Duration,
    pub(super) retention: Duration,
    pub(super) target: Target,
    pub(super) log: String,
    pub(super) log_format: LogFormat,
}

/// What is done with events.
#[derive(Debug)]
pub(super) enum Target {
    Programs(BTreeMap<Route, Program>),
    Forward(ForwardUrl),
}

impl Settings {
    pub(super) fn of_process(arguments: &ReceiveArguments, config: Option<&Path>) -> Result<Self> {
        Self::new(&Sources::of_process(arguments, config)?)
    }

    pub(super) fn new(sources: &Sources) -> Result<Self> {
        let settings = Self {
            listen: parse(sources.get("listen"), address)?,
            path: parse(sources.get("path"), path)?,
            status_listen: parse(sources.get("status_listen"), status_address)?,
            tls: tls(sources)?,
            store: store(sources),
            secrets: parse(sources.get("secrets"), secrets)?,
            token: sources.optional("token").map(|given| parse(given, token)).transpose()?,
            pending_set: parse(sources.get("pending_set"), switch)?,
            retries: parse(sources.get("retries"), retries)?,
            at_once: parse(sources.get("at_once"), at_once)?,
            time_limit: parse(sources.get("time_limit"), positive_duration)?,
            retention: parse(sources.get("retention"), positive_duration)?,
            target: target(sources)?,
            log: sources.get("log").text.clone(),
            log_format: LogFormat::parse(&sources.get("log_format").text)
                .map_err(|error| anyhow!("{}: {error}", sources.get("log_format").origin))?,
        };
        let behind_proxy = parse(sources.get("behind_proxy"), switch)?;
        if !settings.listen.ip().is_loopback() && settings.tls.is_none() && !behind_proxy {
            bail!(
                "{}: {} can be reached by other machines, and webhooks would travel in clear. Set tls_cert and tls_key, or pass --behind-proxy \
                 when a proxy in front ends TLS",
                sources.get("listen").origin,
                settings.listen
            );
        }
        Ok(settings)
    }

    /// The verdicts for which nothing is run.
    pub(super) fn ignored(&self) -> Vec<&'static str> {
        match &self.target {
            Target::Forward(_) => Vec::new(),
            Target::Programs(programs) if programs.contains_key(&Route::Otherwise) => Vec::new(),
            Target::Programs(programs) => {
                let missing = VERDICTS.into_iter().filter(|verdict| !programs.contains_key(&Route::Verdict(*verdict)));
                missing.map(verdict_name).collect()
            }
        }
    }
}

/// The inbox that a command beside a receiver works on.
pub(super) fn store(sources: &Sources) -> PathBuf {
    PathBuf::from(&sources.get("store").text)
}

pub(super) fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Clean => "clean",
        Verdict::Infected => "infected",
        Verdict::Nsfw => "nsfw",
        Verdict::Mixed => "mixed",
        Verdict::Failed => "failed",
    }
}

fn parse<T>(given: &Given, read: impl FnOnce(&str) -> Result<T, String>) -> Result<T> {
    // Secrets are refused without being shown.
    read(&given.text).map_err(|problem| anyhow!("{} is {}", given.origin, problem))
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{text:?}; give an address and a port, such as 127.0.0.1:8090"))
}

fn status_address(text: &str) -> Result<Option<SocketAddr>, String> {
    if text == "off" {
        return Ok(None);
    }
    let address = address(text)?;
    if address.ip().is_loopback() {
        Ok(Some(address))
    } else {
        Err(format!("{text:?}; the page asks for no password: give a loopback address such as 127.0.0.1:8091, or off"))
    }
}

fn path(text: &str) -> Result<String, String> {
    let fits = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte));
    if fits { Ok(text.to_owned()) } else { Err(format!("{text:?}; give a path such as /webhooks/filesafety")) }
}

fn secrets(text: &str) -> Result<Vec<SigningSecret>, String> {
    let read = |text: &str| {
        text.trim()
            .parse()
            .map_err(|error| format!("refused: {error}; copy it from where the service showed it, several with commas between"))
    };
    if text.is_empty() { Ok(Vec::new()) } else { text.split(',').map(read).collect() }
}

fn token(text: &str) -> Result<String, String> {
    let fits = (16..=256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
    if fits { Ok(text.to_owned()) } else { Err("refused: a token has 16 to 256 of the characters A-Z a-z 0-9 - . _ ~".into()) }
}

fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" | "true" | "yes" | "1" => Ok(true),
        "off" | "false" | "no" | "0" => Ok(false),
        _ => Err(format!("{text:?}; give on or off")),
    }
}

fn at_once(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=AT_ONCE_MAX).contains(number));
    number.ok_or_else(|| format!("{text:?}; give how many may run at the same time, 1 to {AT_ONCE_MAX}"))
}

fn retries(text: &str) -> Result<Vec<Duration>, String> {
    let waits: Vec<Duration> = if text == "none" { Vec::new() } else { text.split(',').map(duration).collect::<Result<_, _>>()? };
    if waits.len() > RETRIES_MAX { Err(format!("{} waits; give at most {RETRIES_MAX}", waits.len())) } else { Ok(waits) }
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|time| if time.is_zero() { Err(format!("{text:?}; give more than nothing")) } else { Ok(time) })
}

fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let millis = match unit {
        "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    };
    // A thousand years are for ever.
    let time = millis.and_then(|millis: u64| number.parse::<u64>().ok()?.checked_mul(millis)).filter(|millis| *millis < 1 << 45);
    time.map(Duration::from_millis).ok_or_else(|| format!("{text:?}; give a time such as 500ms, 30s, 5m, 2h or 90d"))
}

fn tls(sources: &Sources) -> Result<Option<TlsFiles>> {
    match (sources.optional("tls_cert"), sources.optional("tls_key")) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => {
            let [certificate, key] = [certificate, key].map(|given| PathBuf::from(&given.text));
            Ok(Some(TlsFiles { certificate, key, allow_1_2: false, names: ["tls_cert", "tls_key"] }))
        }
        (Some(given), None) => bail!("{} is set without tls_key; set both or neither", given.origin),
        (None, Some(given)) => bail!("{} is set without tls_cert; set both or neither", given.origin),
    }
}

fn target(sources: &Sources) -> Result<Target> {
    let mut programs = BTreeMap::new();
    for (name, given) in &sources.on {
        let verdict = VERDICTS.into_iter().find(|verdict| verdict_name(*verdict) == name);
        let route = match verdict {
            Some(verdict) => Route::Verdict(verdict),
            None if name == "any" => Route::Otherwise,
            None => bail!(
                "{}: there is no verdict {name:?}; there are clean, infected, nsfw, mixed, failed, and any for the rest",
                given.origin
            ),
        };
        programs.insert(route, program(given)?);
    }
    for (context, given) in &sources.contexts {
        programs.insert(Route::Context(context.clone()), program(given)?);
    }
    match (sources.optional("forward_to"), programs.first_key_value()) {
        (Some(given), None) => Ok(Target::Forward(parse(given, ForwardUrl::parse)?)),
        (Some(given), Some((route, _))) => bail!("{} and {} are both set; set one of them", given.origin, route_name(route)),
        (None, Some(_)) => Ok(Target::Programs(programs)),
        (None, None) => {
            bail!(
                "nothing to do with events: set a program, such as --on any=/usr/local/bin/on-verdict, or --forward-to http://127.0.0.1:3000/hook"
            )
        }
    }
}

fn program(given: &GivenProgram) -> Result<Program> {
    Program::new(&given.words).map_err(|problem| anyhow!("{}: {problem}", given.origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(toml: &str, environment: &[(&str, &str)]) -> Result<Settings> {
        let mut sources = Sources::of_defaults();
        sources.read_toml(toml, "r.toml")?;
        sources.read_environment(environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))?;
        Settings::new(&sources)
    }

    const PROGRAM: &str = "on.any = ['/bin/true']\n";

    #[test]
    fn what_is_wrong_is_named_with_its_place_and_a_remedy() {
        for (toml, part) in [
            ("", "--on any=/usr/local/bin/on-verdict"),
            ("listen = 'here'", "listen in r.toml is \"here\"; give an address"),
            ("listen = '0.0.0.0:1'", "pass --behind-proxy"),
            ("path = 'hook'", "path in r.toml is \"hook\"; give a path such as"),
            ("path = '/{a}'", "path in r.toml"),
            ("status_listen = '0.0.0.0:1'", "give a loopback address"),
            ("secrets = ['whsec_']", "secrets in r.toml is refused: a signing secret has 24 to 64 bytes, this one 0"),
            ("token = 'short'", "token in r.toml is refused"),
            ("pending_set = 'perhaps'", "give on or off"),
            ("retries = 'soon'", "retries in r.toml is \"soon\"; give a time such as"),
            ("retries = '1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s'", "at most 20"),
            ("time_limit = '0s'", "more than nothing"),
            ("retention = '99999999999d'", "give a time"),
            ("at_once = 0", "1 to 256"),
            ("tls_cert = 'a.pem'", "without tls_key"),
            ("log_format = 'xml'", "give text or json"),
            ("colour = 'red'", "colour in r.toml is no setting of receive"),
            ("on = 7", "on in r.toml must have entries"),
            ("on.infected = 7", "on.infected in r.toml must be a list"),
            ("on.infested = ['/bin/true']", "there is no verdict \"infested\""),
            ("on.clean = []", "on.clean in r.toml: "),
            ("on.clean = ['true']", "give its whole path"),
            ("on.clean = ['/no/such/program']", "/no/such/program"),
            ("on.clean = ['/etc/passwd']", "chmod +x"),
            ("on.clean = ['/bin']", "is no file"),
            ("forward_to = 'https://localhost'", "http://"),
            ("forward_to = 'http://localhost/'\non.any = ['/bin/true']", "both set"),
            ("listen = ", "r.toml is no TOML"),
        ] {
            let with_program = if toml.contains("on") && !toml.contains("retention") || toml.is_empty() || toml.contains("forward_to") {
                toml.to_owned()
            } else {
                format!("{PROGRAM}{toml}")
            };
            let Err(error) = settings(&with_program, &[]) else { panic!("{toml} is accepted") };
            let message = format!("{error:#}");
            assert!(message.contains(part), "{toml}: {message}");
        }
    }

    #[test]
    fn secrets_come_from_the_environment_and_never_show() {
        let secret = "whsec_dGhlIHNpZ25pbmcgc2VjcmV0IG9mIHRoZSB0ZXN0cyE=";
        let of = |environment: &[(&str, &str)]| settings(PROGRAM, environment).map(|settings| settings.secrets.len());
        assert_eq!(of(&[]).unwrap(), 0);
        assert_eq!(of(&[("FILESAFETY_WEBHOOK_SECRET", secret)]).unwrap(), 1);
        let two = format!("{secret}, {secret}");
        assert_eq!(of(&[("FILESAFETY_WEBHOOK_SECRET", "other"), ("FILESAFETY_RECEIVE_SECRETS", &two)]).unwrap(), 2);
        let message = of(&[("FILESAFETY_RECEIVE_SECRETS", "whsec_c2hvcnQ=")]).unwrap_err().to_string();
        assert!(message.starts_with("FILESAFETY_RECEIVE_SECRETS is refused") && !message.contains("c2hvcnQ"), "{message}");
        let message = of(&[("FILESAFETY_RECEIVE_SECRET", "x")]).unwrap_err().to_string();
        assert!(message.starts_with("FILESAFETY_RECEIVE_SECRET is no setting of receive"), "{message}");
        let missing = of(&[("FILESAFETY_RECEIVE_TOKEN_FILE", "/no/such/file")]).unwrap_err();
        assert!(format!("{missing:#}").starts_with("FILESAFETY_RECEIVE_TOKEN_FILE is /no/such/file, which cannot be read"));
    }

    #[test]
    fn verdicts_without_a_program_are_told() {
        let of = |toml| settings(toml, &[]).unwrap().ignored();
        assert_eq!(
            of("on.infected = ['/bin/true', 'with', 'words']\non.mixed = '/bin/true'\ncontext.avatar = ['/bin/true']"),
            ["clean", "nsfw", "failed"]
        );
        assert!(of(PROGRAM).is_empty() && of("forward_to = 'http://127.0.0.1:3000/hook'").is_empty());
    }
}
