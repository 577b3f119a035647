//! Signed and sealed messages (CMS, RFC 5652; S/MIME `smime.p7m`, `.p7s`, `.p7b`), in BER as mail programs write it: what was signed is a
//! child, what is encrypted is told.

use filesafety_model::Reason;

use super::{Sink, Stop};

const DETAIL: &str = "Cms";

/// Object identifiers, as they are written: `1.2.840.113549.1.7` and what follows it, and two content types of S/MIME.
const PKCS7: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07];
const AUTH_ENVELOPED: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x17];
const COMPRESSED: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x09];

const SEQUENCE: u8 = 0x30;
const IDENTIFIER: u8 = 0x06;
const OCTETS: u8 = 0x04;
const CONSTRUCTED_OCTETS: u8 = 0x24;
const CONTENT: u8 = 0xa0;
const END_OF_CONTENTS: u8 = 0x00;

/// Strings in pieces, inside each other.
const MAX_DEPTH: u32 = 16;

/// Whether content starts as a message of one of these types does.
pub(crate) fn starts(content: &[u8]) -> bool {
    content.first() == Some(&SEQUENCE) && content_info(content).is_some()
}

/// Gives what was signed to `sink`.
pub(crate) fn open(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let Some((kind, body, complete)) = content_info(content) else { return Ok(()) };
    match kind {
        Kind::Encrypted => sink.unexamined(Reason::Encrypted, "Smime"),
        Kind::Unopened => sink.unexamined(Reason::Unsupported, DETAIL),
        Kind::Signed => {
            let mut complete = complete;
            if let Some(signed) = signed_content(body) {
                let mut text = Vec::new();
                let held = signed.len() as u64;
                sink.hold(held)?;
                complete &= gather(signed, &mut text, 0);
                sink.child("signed", &mut text.as_slice())?;
                sink.release(held);
            }
            if !complete {
                sink.unexamined(Reason::Broken, DETAIL);
            }
        }
        Kind::Other => {}
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Signed,
    Encrypted,
    /// It carries a message, and this build cannot open it.
    Unopened,
    /// Bare data, digests: nothing that a search does not see.
    Other,
}

/// One element: its tag, what it holds, and where the next one begins.
struct Element<'a> {
    tag: u8,
    body: &'a [u8],
    rest: &'a [u8],
    /// Its end is there.
    complete: bool,
}

/// `SEQUENCE { contentType, [0] content }`; the kind, the content, and whether all of it is there.
fn content_info(content: &[u8]) -> Option<(Kind, &[u8], bool)> {
    let outer = element(content).filter(|outer| outer.tag == SEQUENCE)?;
    let identifier = element(outer.body).filter(|identifier| identifier.tag == IDENTIFIER)?;
    let kind = match identifier.body {
        AUTH_ENVELOPED => Kind::Encrypted,
        COMPRESSED => Kind::Unopened,
        _ => match identifier.body.strip_prefix(PKCS7)? {
            [2] => Kind::Signed,
            [3 | 4 | 6] => Kind::Encrypted,
            [1 | 5] => Kind::Other,
            _ => return None,
        },
    };
    let wrapped = element(identifier.rest).filter(|wrapped| wrapped.tag == CONTENT)?;
    Some((kind, wrapped.body, outer.complete && wrapped.complete))
}

/// Of `SEQUENCE { version, digestAlgorithms, SEQUENCE { type, [0] content }, … }`: the content, where it is not kept elsewhere.
fn signed_content(body: &[u8]) -> Option<&[u8]> {
    let signed = element(body).filter(|signed| signed.tag == SEQUENCE)?;
    let version = element(signed.body)?;
    let algorithms = element(version.rest)?;
    let inner = element(algorithms.rest).filter(|inner| inner.tag == SEQUENCE)?;
    let kind = element(inner.body)?;
    Some(element(kind.rest).filter(|content| content.tag == CONTENT)?.body)
}

/// Puts the pieces of a string together; whether all of it is there. What is no string is taken as it is.
fn gather(body: &[u8], text: &mut Vec<u8>, depth: u32) -> bool {
    let mut rest = body;
    let mut complete = true;
    while !rest.is_empty() {
        let Some(piece) = element(rest) else { return false };
        match piece.tag {
            OCTETS => text.extend_from_slice(piece.body),
            CONSTRUCTED_OCTETS if depth < MAX_DEPTH => complete &= gather(piece.body, text, depth + 1),
            END_OF_CONTENTS => return complete,
            _ => {
                text.extend_from_slice(rest);
                return complete && depth == 0;
            }
        }
        complete &= piece.complete;
        rest = piece.rest;
    }
    complete
}

fn element(content: &[u8]) -> Option<Element<'_>> {
    let (&tag, after) = content.split_first()?;
    let (&first, after) = after.split_first()?;
    if first == 0x80 {
        return Some(indefinite(tag, after));
    }
    let (length, after) = if first < 0x80 {
        (usize::from(first), after)
    } else {
        let digits = usize::from(first & 0x7f);
        let bytes = after.get(..digits).filter(|_| digits <= 8)?;
        let length = bytes.iter().fold(0u64, |length, &byte| length << 8 | u64::from(byte));
        (usize::try_from(length).ok()?, after.get(digits..)?)
    };
    let complete = length <= after.len();
    let (body, rest) = after.split_at_checked(length).unwrap_or((after, &[]));
    Some(Element { tag, body, rest, complete })
}

/// Up to the end mark that belongs to it. Elements of either kind may stand before; nests are counted, not recursed into.
fn indefinite(tag: u8, after: &[u8]) -> Element<'_> {
    let mut open = 1u32;
    let mut rest = after;
    loop {
        let (step, is_end) = match rest {
            [0, 0, ..] => {
                open -= 1;
                (2, open == 0)
            }
            [_, 0x80, ..] => {
                open = open.saturating_add(1);
                (2, false)
            }
            [] => return Element { tag, body: after, rest: &[], complete: false },
            _ => match element(rest).filter(|element| element.complete) {
                Some(element) => (rest.len() - element.rest.len(), false),
                None => return Element { tag, body: after, rest: &[], complete: false },
            },
        };
        let at = after.len() - rest.len();
        rest = rest.get(step..).unwrap_or_default();
        if is_end {
            return Element { tag, body: after.get(..at).unwrap_or_default(), rest, complete: true };
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::fixtures::{Record, eicar},
        *,
    };

    fn opened(content: &[u8]) -> Record {
        let mut record = Record::default();
        open(content, &mut record).unwrap();
        record
    }

    fn tagged(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&[tag, 0x82][..], &length, body].concat()
    }

    fn endless(tag: u8, body: &[u8]) -> Vec<u8> {
        [&[tag, 0x80][..], body, &[0, 0]].concat()
    }

    fn identifier(last: u8) -> Vec<u8> {
        tagged(IDENTIFIER, &[PKCS7, &[last]].concat())
    }

    /// A signed message, its elements written by `wrap`.
    fn signed(content: &[u8], wrap: fn(u8, &[u8]) -> Vec<u8>) -> Vec<u8> {
        let inner = wrap(SEQUENCE, &[identifier(1), wrap(CONTENT, content)].concat());
        let body = wrap(SEQUENCE, &[tagged(2, &[1]), tagged(0x31, b""), inner, tagged(0x31, b"")].concat());
        wrap(SEQUENCE, &[identifier(2), wrap(CONTENT, &body)].concat())
    }

    #[test]
    fn what_was_signed_is_a_child_however_it_is_written() {
        let pieces = [tagged(OCTETS, &eicar()[..30]), tagged(OCTETS, &eicar()[30..])].concat();
        for content in [
            signed(&tagged(OCTETS, &eicar()), tagged),
            signed(&tagged(OCTETS, &eicar()), endless),
            signed(&endless(CONSTRUCTED_OCTETS, &pieces), endless),
            signed(&tagged(CONSTRUCTED_OCTETS, &pieces), tagged),
        ] {
            let record = opened(&content);
            assert!(starts(&content) && record.is_complete());
            assert_eq!(record.children, [("signed".to_owned(), eicar())]);
        }
    }

    #[test]
    fn what_is_sealed_is_encrypted_and_a_lone_signature_nothing() {
        for kind in [3, 4, 6] {
            let content = tagged(SEQUENCE, &[identifier(kind), tagged(CONTENT, b"x")].concat());
            assert!(opened(&content).says(Reason::Encrypted, "Smime"));
        }
        let content = tagged(SEQUENCE, &[tagged(IDENTIFIER, COMPRESSED), tagged(CONTENT, b"x")].concat());
        assert!(opened(&content).says(Reason::Unsupported, "Cms"));
        let inner = tagged(SEQUENCE, &identifier(1));
        let body = tagged(SEQUENCE, &[tagged(2, &[1]), tagged(0x31, b""), inner].concat());
        let record = opened(&tagged(SEQUENCE, &[identifier(2), tagged(CONTENT, &body)].concat()));
        assert!(record.children.is_empty() && record.is_complete());
        assert!(!starts(b"0\x82\x01\x00 a certificate") && !starts(b"0"));
    }

    #[test]
    fn cut_anywhere_a_message_is_broken() {
        for whole in [signed(&tagged(OCTETS, &eicar()), tagged), signed(&tagged(OCTETS, &eicar()), endless)] {
            for length in 0..whole.len() {
                let cut = &whole[..length];
                assert!(!starts(cut) || opened(cut).says(Reason::Broken, "Cms"), "cut to {length}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_elements_are_taken(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), tail in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut content = signed(&endless(CONSTRUCTED_OCTETS, &tagged(OCTETS, &eicar())), endless);
            for (at, byte) in changes {
                let at = at.index(content.len());
                content[at] = byte;
            }
            opened(&[content, tail].concat());
        }
    }
}
