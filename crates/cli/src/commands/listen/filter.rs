//! Which events are wanted.

use std::str::FromStr;

use anyhow::{Error, Result, bail};
use filesafety_model::Verdict;
use serde_json::Value;

use crate::terminal::escaped;

/// A field of the body, and the values that it may have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filter {
    path: Vec<String>,
    values: Vec<String>,
}

impl Filter {
    pub(super) fn matches(&self, body: &Value) -> bool {
        let found = self.path.iter().try_fold(body, |value, key| value.get(key));
        found.is_some_and(|found| {
            let text = match found {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            self.values.contains(&text)
        })
    }
}

/// `verdict=infected,mixed`, `virus.kind=malware`, `metadata.tenant=a`.
impl FromStr for Filter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some((field, values)) = text.split_once('=') else {
            bail!("--filter is {:?}; give a field and its value, such as verdict=infected", escaped(text));
        };
        let path: Vec<_> = field.split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            bail!("--filter names the field {:?}; give one such as verdict or metadata.tenant", escaped(field));
        }
        let values: Vec<_> = values.split(',').map(str::to_owned).collect();
        if field == "verdict"
            && let Some(unknown) = values.iter().find(|value| value.parse::<Verdict>().is_err())
        {
            let known = Verdict::ALL.map(Verdict::as_str).join(", ");
            bail!("--filter names the verdict {:?}; there are {known}", escaped(unknown));
        }
        Ok(Self { path, values })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn says_what_is_wrong() {
        for (text, part) in [
            ("infected", "such as verdict=infected"),
            ("=infected", "names the field"),
            ("virus..kind=x", "names the field"),
            ("verdict=bad", "there are clean, infected"),
            ("verdict=", "there are clean, infected"),
        ] {
            let error = text.parse::<Filter>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_field_has_one_of_the_values() {
        let body =
            json!({ "verdict": "mixed", "sequence": 2, "virus": { "kind": "malware" }, "metadata": { "tenant": "a=b" }, "nsfw": null });
        for text in ["verdict=infected,mixed", "sequence=2", "virus.kind=malware", "metadata.tenant=a=b", "nsfw=null"] {
            assert!(text.parse::<Filter>().unwrap().matches(&body), "{text}");
        }
        for text in ["verdict=clean", "virus.kind=pua", "virus.kind.deep=x", "metadata.other=a", "none=null"] {
            assert!(!text.parse::<Filter>().unwrap().matches(&body), "{text}");
        }
    }
}
