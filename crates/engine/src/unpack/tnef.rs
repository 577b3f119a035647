//! TNEF, the `winmail.dat` of Outlook ([MS-OXTNEF]): attributes of a message and of its attachments, some of which hold MAPI properties.

mod properties;
#[cfg(test)]
mod tests;

use std::io::Read as _;

use filesafety_model::Reason;

use super::{Sink, Stop, lzfu, u16_at, u32_at};
use properties::Property;

/// What the signatures of this opener end with.
const DETAIL: &str = "Tnef";

/// Begins every stream.
const SIGNATURE: [u8; 4] = [0x78, 0x9f, 0x3e, 0x22];

/// Attributes that hold something to examine.
const BODY: u32 = 0x0002_800c;
const ATTACHMENT_STARTS: u32 = 0x0006_9002;
const ATTACHMENT_DATA: u32 = 0x0006_800f;
const ATTACHMENT_TITLE: u32 = 0x0001_8010;
const ATTACHMENT_PROPERTIES: u32 = 0x0006_9005;
const MESSAGE_PROPERTIES: u32 = 0x0006_9003;

/// MAPI properties likewise.
const HTML: u16 = 0x1013;
const PACKED_RTF: u16 = 0x1009;
const PLAIN_BODY: u16 = 0x1000;
const OBJECT_DATA: u16 = 0x3701;
const LONG_NAME: u16 = 0x3707;
const SHORT_NAME: u16 = 0x3704;

/// Names are kept so far.
const MAX_NAME: usize = 1_024;

/// Whether content starts as such a stream does: the signature, a key, and an attribute of a message or an attachment.
pub(crate) fn starts(content: &[u8]) -> bool {
    content.starts_with(&SIGNATURE) && (content.len() <= 6 || matches!(content.get(6), Some(1 | 2)))
}

/// Gives what the stream holds to `sink`. Never fails on content: what cannot be read is told to `sink` as unexamined.
pub(crate) fn open(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let mut attachment = Attachment::default();
    let mut attachments = 0u32;
    let mut is_broken = content.len() < 6;
    let mut at = 6;
    while let Some(&level) = content.get(at) {
        sink.tick()?;
        let (Some(id), Some(length)) = (u32_at(content, at + 1), u32_at(content, at + 5)) else {
            is_broken = true;
            break;
        };
        if !matches!(level, 1 | 2) {
            is_broken |= !content.get(at..).unwrap_or_default().iter().all(|&byte| byte == 0);
            break;
        }
        let start = at + 9;
        let end = usize::try_from(length).ok().and_then(|length| start.checked_add(length)).unwrap_or(usize::MAX);
        let data = content.get(start..end.min(content.len())).unwrap_or_default();
        // A checksum of two bytes follows.
        let sum = u16_at(content, end);
        is_broken |= end > content.len() || sum != Some(checksum(data));
        if id == ATTACHMENT_STARTS {
            attachment.give(attachments, sink)?;
            attachment = Attachment::default();
            attachments = attachments.saturating_add(1);
        }
        attribute(id, data, &mut attachment, sink, &mut is_broken)?;
        at = end.saturating_add(2);
    }
    attachment.give(attachments, sink)?;
    if is_broken {
        sink.unexamined(Reason::Broken, DETAIL);
    }
    Ok(())
}

/// What the attributes of one attachment told, until the next begins.
#[derive(Default)]
struct Attachment<'a> {
    title: Option<String>,
    long_name: Option<String>,
    contents: Vec<&'a [u8]>,
}

impl Attachment<'_> {
    fn give(&self, number: u32, sink: &mut dyn Sink) -> Result<(), Stop> {
        let name = self.long_name.as_ref().or(self.title.as_ref()).cloned().unwrap_or_else(|| format!("attachment-{number}"));
        for content in &self.contents {
            sink.part(&name, content)?;
        }
        Ok(())
    }
}

fn attribute<'a>(id: u32, data: &'a [u8], attachment: &mut Attachment<'a>, sink: &mut dyn Sink, is_broken: &mut bool) -> Result<(), Stop> {
    match id {
        BODY => {
            sink.part("body.txt", data)?;
        }
        ATTACHMENT_DATA => attachment.contents.push(data),
        ATTACHMENT_TITLE => attachment.title = Some(text(data)),
        ATTACHMENT_PROPERTIES => {
            let properties = properties::read(data, sink)?;
            *is_broken |= !properties.complete;
            for property in properties.list {
                attachment_property(&property, attachment);
            }
        }
        MESSAGE_PROPERTIES => {
            let properties = properties::read(data, sink)?;
            *is_broken |= !properties.complete;
            for property in properties.list {
                message_property(&property, sink, is_broken)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn attachment_property<'a>(property: &Property<'a>, attachment: &mut Attachment<'a>) {
    match property.id {
        LONG_NAME => attachment.long_name = Some(property.text()),
        SHORT_NAME => {
            attachment.title.get_or_insert_with(|| property.text());
        }
        OBJECT_DATA => {
            // Sixteen bytes name the interface: a message, which is a stream like this, or a compound file.
            let content = property.value.get(16..).filter(|_| property.is_object());
            attachment.contents.push(content.unwrap_or(property.value));
        }
        _ => {}
    }
}

fn message_property(property: &Property<'_>, sink: &mut dyn Sink, is_broken: &mut bool) -> Result<(), Stop> {
    match property.id {
        HTML => {
            sink.part("body.html", property.value)?;
        }
        PLAIN_BODY => {
            sink.part("body.txt", property.value)?;
        }
        PACKED_RTF => match lzfu::Unpacked::new(property.value) {
            Some(mut rtf) => {
                // What the header tells of is all; the mark behind it is often missing.
                let told = rtf.told();
                *is_broken |= sink.child("body.rtf", &mut (&mut rtf).take(told))?.bytes < told;
            }
            None => *is_broken = true,
        },
        _ => {}
    }
    Ok(())
}

/// Up to the zero that ends it.
fn text(data: &[u8]) -> String {
    let data = data.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(data.get(..MAX_NAME).unwrap_or(data)).into_owned()
}

fn checksum(data: &[u8]) -> u16 {
    data.iter().fold(0, |sum, &byte| sum.wrapping_add(u16::from(byte)))
}
