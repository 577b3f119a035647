//! From texts to values, each refusal saying what would be right.

use std::{fmt::Display, path::PathBuf, str::FromStr, time::Duration};

use filesafety_engine::PictureModel;
use filesafety_model::Password;

use super::{ConfigError, Rate, Resolved, Secret, Setting};
use crate::egress::IpNet;

/// Reads settings and names the one that is wrong.
pub(super) struct Reader<'a>(pub(super) &'a Resolved);

impl Reader<'_> {
    /// The text, unless it is absent or empty.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|value| value.text.as_str()).filter(|text| !text.is_empty())
    }

    pub(super) fn with<T>(&self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<T, ConfigError> {
        let text = self.0.get(key).map_or("", |value| value.text.as_str());
        parse(text.trim()).map_err(|problem| self.bad(key, problem))
    }

    pub(super) fn parsed<T: FromStr<Err: Display>>(&self, key: &str) -> Result<T, ConfigError> {
        self.with(key, |text| text.parse().map_err(|error: T::Err| error.to_string()))
    }

    pub(super) fn optional_with<T>(&self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, ConfigError> {
        if self.text(key).is_none() { Ok(None) } else { self.with(key, parse).map(Some) }
    }

    pub(super) fn optional_parsed<T: FromStr<Err: Display>>(&self, key: &str) -> Result<Option<T>, ConfigError> {
        if self.text(key).is_none() { Ok(None) } else { self.parsed(key).map(Some) }
    }

    pub(super) fn flag(&self, key: &str) -> Result<bool, ConfigError> {
        self.with(key, |text| match text {
            "1" | "on" | "true" | "yes" => Ok(true),
            "0" | "off" | "false" | "no" | "" => Ok(false),
            _ => Err("give on or off".to_owned()),
        })
    }

    pub(super) fn path(&self, key: &str) -> Result<PathBuf, ConfigError> {
        self.optional_path(key).ok_or_else(|| self.bad(key, "give a path".to_owned()))
    }

    pub(super) fn optional_path(&self, key: &str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    /// One a line, as it stands there; empty lines are none.
    pub(super) fn passwords(&self, key: &str) -> Result<Vec<Password>, ConfigError> {
        let lines = self.text(key).unwrap_or_default().lines().filter(|line| !line.is_empty());
        lines.map(|line| Password::new(line).map_err(|error| self.bad(key, error.to_string()))).collect()
    }

    pub(super) fn secret(&self, key: &str) -> Option<Secret> {
        self.text(key).map(|text| Secret(text.trim().to_owned()))
    }

    fn bad(&self, key: &str, problem: String) -> ConfigError {
        let setting = Setting::find(key);
        let value = self.0.get(key);
        let text = value.map_or_else(String::new, |value| if setting.secret { "[redacted]".to_owned() } else { value.text.clone() });
        ConfigError::Bad {
            env: setting.env,
            origin: value.map_or_else(|| "unset".to_owned(), |value| value.origin.to_string()),
            value: text,
            problem,
        }
    }
}

/// `builtin` or the path of a file, one or two of them.
pub(super) fn picture_models(text: &str) -> Result<Vec<PictureModel>, String> {
    let names: Vec<&str> = text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let model = |name: &str| match name {
        "builtin" => Ok(PictureModel::BuiltIn),
        path if path.ends_with(".onnx") => Ok(PictureModel::File(path.into())),
        _ => Err(format!("{name:?} is neither builtin nor a file that ends with .onnx")),
    };
    let models = names.into_iter().map(model).collect::<Result<Vec<_>, _>>()?;
    match models.as_slice() {
        [_] => Ok(models),
        [one, other] if one != other => Ok(models),
        [] => Err("give builtin, or a file that ends with .onnx".to_owned()),
        [_, _] => Err("the two models are the same".to_owned()),
        [_, _, _, ..] => Err("give one or two models".to_owned()),
    }
}

/// `90s`, `1m`, `24h`, `90d`, `250ms`, or `0`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let refuse = || "give a time such as 250ms, 10s, 5m, 1h or 90d".to_owned();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(refuse)?;
    let number: u64 = text[..split].parse().map_err(|_| refuse())?;
    let millis = match &text[split..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(refuse()),
    };
    number.checked_mul(millis).filter(|millis| *millis <= 100 * 365 * 86_400_000).map(Duration::from_millis).ok_or_else(refuse)
}

pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|time| if time.is_zero() { Err("give more than 0".to_owned()) } else { Ok(time) })
}

/// `1GiB`, `25MiB`, `4KiB`, `500MB`, or bytes.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let refuse = || "give a size such as 4KiB, 25MiB or 1GiB".to_owned();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..split].parse().map_err(|_| refuse())?;
    let unit: u64 = match text[split..].trim() {
        "" | "B" => 1,
        "KiB" | "K" => 1 << 10,
        "MiB" | "M" => 1 << 20,
        "GiB" | "G" => 1 << 30,
        "KB" | "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return Err(refuse()),
    };
    number.checked_mul(unit).filter(|bytes| *bytes > 0).ok_or_else(refuse)
}

pub(super) fn nets(text: &str) -> Result<Vec<IpNet>, String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| part.parse::<IpNet>().map_err(|error| format!("{part:?} is no network: {error}"))).collect()
}

/// `50,100` or `off`.
pub(crate) fn rate(text: &str) -> Result<Option<Rate>, String> {
    let refuse = || "give submissions per second and burst such as 50,100, or off".to_owned();
    if text == "off" {
        return Ok(None);
    }
    let (per_second, burst) = text.split_once(',').ok_or_else(refuse)?;
    let number = |text: &str| text.trim().parse().ok().filter(|number: &u32| *number > 0).ok_or_else(refuse);
    Ok(Some(Rate { per_second: number(per_second)?, burst: number(burst)? }))
}

/// An absolute http or https URL without query, its last slash removed.
pub(super) fn base_url(text: &str) -> Result<String, String> {
    let url = url::Url::parse(text).map_err(|_| "give an absolute URL such as https://files.example.com".to_owned())?;
    if !matches!(url.scheme(), "http" | "https") || url.query().is_some() || url.fragment().is_some() || url.cannot_be_a_base() {
        return Err("give an http or https URL without query".to_owned());
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}
