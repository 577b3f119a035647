//! Mail and web archives (RFC 5322, MHTML): text by nature, and so told apart from text with care.

/// Fields that only a message has.
const OF_MAIL: &[&str] = &[
    "received",
    "message-id",
    "mime-version",
    "return-path",
    "delivered-to",
    "from",
    "dkim-signature",
    "content-transfer-encoding",
    "x-mailer",
    "envelope-to",
];

/// Fields that a message has, and other texts too.
const OTHERS: &[&str] =
    &["to", "cc", "bcc", "subject", "date", "reply-to", "sender", "content-type", "in-reply-to", "references", "authentication-results"];

/// Header lines are looked for in as many bytes.
const LOOKED_AT: usize = 64 << 10;

/// At least two known header fields at the top, one of them of mail alone.
pub(super) fn is_mail(content: &[u8]) -> bool {
    let start = content.get(..LOOKED_AT).unwrap_or(content);
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let (mut of_mail, mut known) = (0, 0);
    for (index, line) in start.split(|&byte| byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let folded = index > 0 && matches!(line.first(), Some(b' ' | b'\t'));
        if folded || index == 0 && line.starts_with(b"From ") {
            continue;
        }
        let name = match field_name(line) {
            Some(name) => name,
            // One odd line at the top does not stop a reader.
            None if index == 0 => continue,
            None => break,
        };
        let is = |list: &[&str]| list.iter().any(|field| field.as_bytes().eq_ignore_ascii_case(name));
        of_mail += usize::from(is(OF_MAIL));
        known += usize::from(is(OF_MAIL) || is(OTHERS));
        if of_mail >= 1 && known >= 2 {
            return true;
        }
    }
    false
}

/// What stands before the colon, if it can be a field's name (RFC 5322, section 3.6.8).
fn field_name(line: &[u8]) -> Option<&[u8]> {
    let name = line.get(..memchr::memchr(b':', line)?)?.trim_ascii_end();
    let well_formed = !name.is_empty() && name.len() <= 76 && name.iter().all(u8::is_ascii_graphic);
    well_formed.then_some(name)
}
