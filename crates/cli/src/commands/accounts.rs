//! `accounts`: who owns scans, with plan, quota and rate. On the store itself, while the service runs.

use std::{
    io::{self, Read as _, Write as _},
    path::PathBuf,
};

use anyhow::{Context as _, Result, anyhow, bail};
use filesafety::{
    SigningSecret,
    event::{ScanComplete, ScanVerdictUpdated},
};
use filesafety_model::{AccountId, SecretId};
use filesafety_server::egress::custom_header;
use filesafety_store::{Account, AccountChange, CustomHeader, Overage, Rate};

use super::{CLEAN, block_on, store};
use crate::{
    arguments::{AccountArguments, AccountsCommand, OverageArgument},
    terminal::{escaped, print_table},
};

/// What webhooks can tell.
const EVENTS: [&str; 2] = [ScanComplete::NAME, ScanVerdictUpdated::NAME];

/// Standard input with headers is not read further.
const INPUT_MAX: u64 = 64 * 1024;

/// The longest name of an account or a plan, in characters.
const NAME_MAX: usize = 64;

pub(super) fn run(command: AccountsCommand, config: Option<PathBuf>) -> Result<u8> {
    block_on(async {
        match command {
            AccountsCommand::Create(arguments) => create(arguments, config).await?,
            AccountsCommand::List(data) => list(&store::open(data, config).await?.store.accounts().await?)?,
            AccountsCommand::Set(arguments) => set(arguments, config).await?,
        }
        Ok(CLEAN)
    })
}

async fn create(arguments: AccountArguments, config: Option<PathBuf>) -> Result<()> {
    let name = checked_name("NAME", &arguments.name)?.to_owned();
    let (opened, change) = open_with_change(arguments, config).await?;
    let id = AccountId::new(store::now(), store::entropy()?);
    opened.store.create_account(id, &name, change, store::now()).await.with_context(|| format!("account {}", escaped(&name)))?;
    // Without one its webhooks could not be signed, and would never leave.
    let secret = SigningSecret::generate(store::entropy()?);
    opened.store.add_signing_secret(id, SecretId::new(store::now(), store::entropy()?), secret.expose_bytes(), store::now()).await?;
    opened.store.close().await;
    writeln!(io::stdout(), "{id}")?;
    writeln!(io::stderr(), "Its webhooks are signed with {}, which is not shown again.", secret.expose_text())?;
    writeln!(io::stderr(), "Give it a key: filesafety keys create --account {}", escaped(&name))?;
    Ok(())
}

async fn set(arguments: AccountArguments, config: Option<PathBuf>) -> Result<()> {
    let name = arguments.name.clone();
    let (opened, change) = open_with_change(arguments, config).await?;
    if change == AccountChange::default() {
        bail!("nothing to change; give one of --plan, --quota, --overage, --rate, --events, --webhook-url, --header, --remove-header");
    }
    let account = opened.store.set_account(&name, change).await;
    let account = account
        .map_err(|error| store::missing(error, || format!("there is no account {}; see `filesafety accounts list`", escaped(&name))))?;
    opened.store.close().await;
    list(&[account])
}

async fn open_with_change(arguments: AccountArguments, config: Option<PathBuf>) -> Result<(store::Opened, AccountChange)> {
    let change = AccountChange {
        plan: arguments.plan.as_deref().map(|plan| checked_name("--plan", plan).map(str::to_owned)).transpose()?,
        quota: arguments.quota.as_deref().map(quota).transpose()?,
        overage: arguments.overage.map(|overage| match overage {
            OverageArgument::Allow => Overage::Allow,
            OverageArgument::Refuse => Overage::Refuse,
        }),
        rate: arguments.rate.as_deref().map(rate).transpose()?,
        events: arguments.events.as_deref().map(events).transpose()?,
        webhook: None,
        set_headers: headers(&arguments.header)?,
        remove_headers: arguments.remove_header.clone(),
    };
    let opened = store::open(arguments.data, config).await?;
    let webhook = arguments.webhook_url.as_deref().map(|url| super::webhook::target(url, &opened.config)).transpose()?;
    Ok((opened, AccountChange { webhook, ..change }))
}

fn list(accounts: &[Account]) -> Result<()> {
    let rows: Vec<_> = accounts.iter().map(row).collect();
    Ok(print_table(&["name", "id", "plan", "quota", "overage", "rate", "events", "webhook host", "headers", "created"], &rows)?)
}

fn row(account: &Account) -> Vec<String> {
    let rate = match account.rate {
        None => "default".to_owned(),
        Some(Rate::Off) => "off".to_owned(),
        Some(Rate::Limit { per_second, burst }) => format!("{per_second},{burst}"),
    };
    let overage = match account.overage {
        Overage::Allow => "allow",
        Overage::Refuse => "refuse",
    };
    vec![
        account.name.clone(),
        account.id.to_string(),
        account.plan.clone(),
        account.quota.map_or_else(|| "none".to_owned(), |quota| quota.to_string()),
        overage.to_owned(),
        rate,
        account.events.join(","),
        account.webhook.as_ref().map_or_else(|| "none".to_owned(), |webhook| webhook.url_host.clone()),
        header_names(account),
        account.created_at.to_string(),
    ]
}

fn checked_name<'a>(field: &str, name: &'a str) -> Result<&'a str> {
    let fits = (1..=NAME_MAX).contains(&name.chars().count()) && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.@".contains(c));
    if fits { Ok(name) } else { bail!("{field} is {:?}; give 1 to {NAME_MAX} letters, digits or any of - _ . @", escaped(name)) }
}

fn quota(text: &str) -> Result<Option<u64>> {
    if text == "none" {
        return Ok(None);
    }
    // The store counts in signed numbers.
    let number = text.parse().ok().filter(|number: &u64| i64::try_from(*number).is_ok());
    number.map(Some).with_context(|| format!("--quota is {:?}; give a number of scans, or none", escaped(text)))
}

fn rate(text: &str) -> Result<Option<Rate>> {
    match text {
        "default" => return Ok(None),
        "off" => return Ok(Some(Rate::Off)),
        _ => {}
    }
    let number = |text: &str| text.trim().parse().ok().filter(|number: &u32| *number > 0);
    let limit = text.split_once(',').and_then(|(rate, burst)| Some(Rate::Limit { per_second: number(rate)?, burst: number(burst)? }));
    limit.map(Some).with_context(|| {
        format!("--rate is {:?}; give submissions per second and at once such as 50,100, or off, or default", escaped(text))
    })
}

/// Their values may be tokens, and are not shown.
fn header_names(account: &Account) -> String {
    let names: Vec<_> = account.headers.iter().map(|header| header.name.as_str()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(",") }
}

/// Given one by one; `-` stands for the lines of standard input.
fn headers(given: &[String]) -> Result<Vec<CustomHeader>> {
    let mut lines = Vec::new();
    for text in given {
        if text == "-" {
            let mut input = String::new();
            io::stdin().take(INPUT_MAX).read_to_string(&mut input).context("cannot read standard input")?;
            lines.extend(input.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned));
        } else {
            lines.push(text.clone());
        }
    }
    lines.iter().map(|line| custom_header(line).map_err(|error| anyhow!("--header {error}"))).collect()
}

fn events(text: &str) -> Result<Vec<String>> {
    let mut names: Vec<_> = text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    names.dedup();
    match names.iter().find(|name| !EVENTS.contains(name)) {
        Some(unknown) => bail!("--events names {:?}; there are {}", escaped(unknown), EVENTS.join(" and ")),
        None if names.is_empty() => bail!("--events is empty; give {}", EVENTS.join(" or ")),
        None => Ok(names.into_iter().map(str::to_owned).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_values_name_the_option_and_the_remedy() {
        for (error, part) in [
            (quota("-1").unwrap_err(), "--quota is \"-1\"; give a number"),
            (quota("18446744073709551615").unwrap_err(), "--quota"),
            (rate("50").unwrap_err(), "such as 50,100"),
            (rate("0,1").unwrap_err(), "--rate"),
            (events("scan.done").unwrap_err(), "\"scan.done\"; there are scan.complete and scan.verdict_updated"),
            (events(" , ").unwrap_err(), "--events is empty"),
            (headers(&["Host: x".to_owned()]).unwrap_err(), "--header names a header that the service sets itself"),
            (headers(&["X-Token: a\nb".to_owned()]).unwrap_err(), "--header has a value with control"),
            (checked_name("NAME", "a b").unwrap_err(), "NAME is \"a b\""),
            (checked_name("--plan", "").unwrap_err(), "--plan"),
        ] {
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn words_stand_for_no_limit() {
        assert_eq!((quota("none").unwrap(), quota("7").unwrap()), (None, Some(7)));
        assert_eq!(rate("off").unwrap(), Some(Rate::Off));
        assert_eq!(rate("default").unwrap(), None);
        assert_eq!(rate("5,10").unwrap(), Some(Rate::Limit { per_second: 5, burst: 10 }));
    }
}
