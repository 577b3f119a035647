//! What the operator makes of content that could not be examined, and where a picture becomes unsafe.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Category, Reason};

/// What content that was not examined to its end means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Unexamined {
    /// It counts as a detection.
    Infected,
    /// It is listed in the coverage and changes nothing else.
    Allow,
}

/// Where a score makes a picture unsafe; `None` switches the category off.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NsfwPolicy {
    pub explicit_nudity: Option<f32>,
    pub explicit_drawing: Option<f32>,
    pub suggestive: Option<f32>,
    /// Whether a picture that cannot be judged counts as unsafe.
    pub unjudged: bool,
}

impl NsfwPolicy {
    /// At or above this score `category` is found.
    pub(crate) fn threshold(&self, category: Category) -> Option<f32> {
        match category {
            Category::ExplicitNudity => self.explicit_nudity,
            Category::ExplicitDrawing => self.explicit_drawing,
            Category::Suggestive => self.suggestive,
            Category::Unjudged => None,
        }
    }
}

/// Reports to verdict: what to make of what could not be seen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    pub encrypted: Unexamined,
    pub limit: Unexamined,
    pub broken: Unexamined,
    pub unsupported: Unexamined,
    /// Objects that clamd was not asked for because of their size.
    pub clamd_limit: Unexamined,
    pub nsfw: NsfwPolicy,
}

/// The text is no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    #[error("{0:?} is neither \"strict\", \"balanced\" nor an entry such as encrypted=allow")]
    BadEntry(String),
    #[error(
        "{0:?} is no reason; there are encrypted, limit, broken, unsupported, clamd_limit, nsfw.unjudged, nsfw.explicit_nudity, nsfw.explicit_drawing and nsfw.suggestive"
    )]
    UnknownReason(String),
    #[error("{reason} cannot be {value:?}; {allowed}")]
    BadValue { reason: String, value: String, allowed: &'static str },
}

impl Policy {
    pub const STRICT: Self = Self {
        encrypted: Unexamined::Infected,
        limit: Unexamined::Infected,
        broken: Unexamined::Infected,
        unsupported: Unexamined::Infected,
        clamd_limit: Unexamined::Allow,
        nsfw: NsfwPolicy { explicit_nudity: Some(0.7), explicit_drawing: Some(0.7), suggestive: None, unjudged: true },
    };

    pub const BALANCED: Self = Self {
        encrypted: Unexamined::Allow,
        unsupported: Unexamined::Allow,
        nsfw: NsfwPolicy { unjudged: false, ..Self::STRICT.nsfw },
        ..Self::STRICT
    };

    pub fn on(&self, reason: Reason) -> Unexamined {
        match reason {
            Reason::Encrypted => self.encrypted,
            Reason::Limit => self.limit,
            Reason::Broken => self.broken,
            Reason::Unsupported => self.unsupported,
        }
    }

    fn set(&mut self, reason: &str, value: &str) -> Result<(), PolicyError> {
        let refuse = |allowed| PolicyError::BadValue { reason: reason.to_owned(), value: value.to_owned(), allowed };
        let unexamined = || match value {
            "infected" => Ok(Unexamined::Infected),
            "allow" => Ok(Unexamined::Allow),
            _ => Err(refuse("give infected or allow")),
        };
        let threshold = || match value {
            "off" => Ok(None),
            _ => value
                .parse()
                .ok()
                .filter(|score| (0.0..=1.0).contains(score))
                .map(Some)
                .ok_or_else(|| refuse("give off or a score from 0 to 1")),
        };
        match reason {
            "encrypted" => self.encrypted = unexamined()?,
            "limit" => self.limit = unexamined()?,
            "broken" => self.broken = unexamined()?,
            "unsupported" => self.unsupported = unexamined()?,
            "clamd_limit" => self.clamd_limit = unexamined()?,
            "nsfw.explicit_nudity" => self.nsfw.explicit_nudity = threshold()?,
            "nsfw.explicit_drawing" => self.nsfw.explicit_drawing = threshold()?,
            "nsfw.suggestive" => self.nsfw.suggestive = threshold()?,
            "nsfw.unjudged" => {
                self.nsfw.unjudged = match value {
                    "nsfw" => true,
                    "allow" => false,
                    _ => return Err(refuse("give nsfw or allow")),
                }
            }
            _ => return Err(PolicyError::UnknownReason(reason.to_owned())),
        }
        Ok(())
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::STRICT
    }
}

impl FromStr for Policy {
    type Err = PolicyError;

    /// Reads `strict`, `balanced`, or entries over strict; a name may stand first: `balanced,broken=allow`.
    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let mut policy = Self::STRICT;
        for (index, entry) in text.split(',').map(str::trim).enumerate() {
            match entry.split_once('=') {
                Some((reason, value)) => policy.set(reason.trim(), value.trim())?,
                None if index == 0 && entry == "strict" => policy = Self::STRICT,
                None if index == 0 && entry == "balanced" => policy = Self::BALANCED,
                None => return Err(PolicyError::BadEntry(entry.to_owned())),
            }
        }
        Ok(policy)
    }
}

impl fmt::Display for Policy {
    /// Every entry, so that the text reads back to the same policy.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unexamined = |value| match value {
            Unexamined::Infected => "infected",
            Unexamined::Allow => "allow",
        };
        let threshold = |score: Option<f32>| score.map_or("off".to_owned(), |score| score.to_string());
        write!(f, "encrypted={},limit={},", unexamined(self.encrypted), unexamined(self.limit))?;
        write!(f, "broken={},unsupported={},", unexamined(self.broken), unexamined(self.unsupported))?;
        write!(f, "clamd_limit={},", unexamined(self.clamd_limit))?;
        write!(f, "nsfw.explicit_nudity={},", threshold(self.nsfw.explicit_nudity))?;
        write!(f, "nsfw.explicit_drawing={},", threshold(self.nsfw.explicit_drawing))?;
        write!(f, "nsfw.suggestive={},", threshold(self.nsfw.suggestive))?;
        write!(f, "nsfw.unjudged={}", if self.nsfw.unjudged { "nsfw" } else { "allow" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_and_tables() {
        assert_eq!("strict".parse(), Ok(Policy::STRICT));
        assert_eq!("balanced".parse(), Ok(Policy::BALANCED));
        let policy: Policy = "encrypted=allow, nsfw.suggestive=0.8".parse().unwrap();
        assert_eq!((policy.encrypted, policy.unsupported), (Unexamined::Allow, Unexamined::Infected));
        assert_eq!(policy.nsfw.suggestive, Some(0.8));
    }

    #[test]
    fn shows_what_it_reads() {
        for text in ["strict", "balanced", "limit=allow,nsfw.suggestive=0.8,nsfw.explicit_nudity=off"] {
            let policy: Policy = text.parse().unwrap();
            assert_eq!(policy.to_string().parse(), Ok(policy));
        }
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert!(matches!("lenient".parse::<Policy>(), Err(PolicyError::BadEntry(_))));
        assert!(matches!("strict,balanced".parse::<Policy>(), Err(PolicyError::BadEntry(_))));
        assert!(matches!("viruses=allow".parse::<Policy>(), Err(PolicyError::UnknownReason(_))));
        assert!(matches!("limit=maybe".parse::<Policy>(), Err(PolicyError::BadValue { .. })));
        assert!(matches!("nsfw.suggestive=NaN".parse::<Policy>(), Err(PolicyError::BadValue { .. })));
    }
}
