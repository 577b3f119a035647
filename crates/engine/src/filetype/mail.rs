//! Mail and web archives (RFC 5322, MHTML): text by nature, and so told apart from text with care.

/// Fields that only a message has.
const OF_MAIL: &[&str] = &[
    "received",
    "message-id",
    "mime-version",
    "return-path",
    "delivered-to",
    "dkim-signature",
    "content-transfer-encoding",
    "x-mailer",
    "envelope-to",
];

/// Fields that a message has, and other texts too.
const OTHERS: &[&str] = &[
    "from",
    "to",
    "cc",
    "bcc",
    "subject",
    "date",
    "reply-to",
    "sender",
    "content-type",
    "in-reply-to",
    "references",
    "authentication-results",
];

/// Header lines are looked for in as many bytes.
const LOOKED_AT: usize = 64 << 10;

/// At least two known header fields at the top, one of them of mail alone; or a sender, a recipient or a subject, with a content type or
/// a uuencoded file; or the boundary of a multipart body. A memo or a patch has a sender alone, and carries nothing.
pub(crate) fn is_mail(content: &[u8]) -> bool {
    let start = content.get(..LOOKED_AT).unwrap_or(content);
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let (mut of_mail, mut known, mut is_addressed, mut is_typed) = (0, 0, false, false);
    for (index, line) in start.split(|&byte| byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if index > 0 && matches!(line.first(), Some(b' ' | b'\t')) {
            continue;
        }
        let name = match field_name(line) {
            Some(_) | None if index == 0 && line.starts_with(b"From ") => {
                // The line that a mailbox puts before each message names its sender.
                of_mail += usize::from(line.contains(&b'@'));
                continue;
            }
            Some(name) => name,
            // One odd line at the top does not stop a reader.
            None if index == 0 => continue,
            None => break,
        };
        let is = |list: &[&str]| list.iter().any(|field| field.as_bytes().eq_ignore_ascii_case(name));
        of_mail += usize::from(is(OF_MAIL));
        known += usize::from(is(OF_MAIL) || is(OTHERS));
        is_addressed |= is(&["from", "to", "subject"]);
        is_typed |= is(&["content-type"]);
        if is(&["content-type"]) && is_multipart(line) {
            return true;
        }
        if of_mail >= 1 && known >= 2 || is_addressed && is_typed {
            return true;
        }
    }
    is_addressed && known >= 2 && memchr::memmem::find_iter(content, b"\nbegin ").any(|at| is_uuencoded(content, at + 7))
}

/// Whether the field's value is a type of several parts.
fn is_multipart(line: &[u8]) -> bool {
    const KIND: &[u8] = b"multipart/";
    let value = memchr::memchr(b':', line).and_then(|at| line.get(at + 1..)).unwrap_or_default().trim_ascii_start();
    value.get(..KIND.len()).is_some_and(|start| start.eq_ignore_ascii_case(KIND))
}

/// Three or four octal digits of a file's mode, then a name.
fn is_uuencoded(content: &[u8], at: usize) -> bool {
    let mode = content.get(at..).unwrap_or_default();
    let digits = mode.iter().take_while(|byte| matches!(byte, b'0'..=b'7')).count();
    matches!(digits, 3 | 4) && mode.get(digits) == Some(&b' ')
}

/// What stands before the colon, if it can be a field's name (RFC 5322, section 3.6.8).
fn field_name(line: &[u8]) -> Option<&[u8]> {
    let name = line.get(..memchr::memchr(b':', line)?)?.trim_ascii_end();
    let well_formed = !name.is_empty() && name.len() <= 76 && name.iter().all(u8::is_ascii_graphic);
    well_formed.then_some(name)
}
