//! Rich text (RTF 1.9.1): objects and pictures are written into it as hexadecimal digits or raw bytes. Word reads what no specification
//! allows, and so does this: digits between groups, control words and white space, groups that never end.

mod hex;
#[cfg(test)]
mod tests;

use filesafety_model::Reason;
use memchr::{memchr3, memmem};

use self::hex::{Digits, Purpose};
use super::{Sink, Stop, field, ole};

/// What the signatures of this opener end with.
const DETAIL: &str = "Rtf";

/// Groups further inside are read as parts of the one around them.
const DEEPEST: usize = 10_000;
/// Of the instruction of a field, and of the address of a template, so much is read.
const MOST_TEXT: usize = 8 << 10;

/// Whether content starts as Word expects it.
pub(crate) fn starts(content: &[u8]) -> bool {
    const BEFORE: usize = 64;
    let start = content.get(..BEFORE).unwrap_or(content);
    start.trim_ascii_start().starts_with(b"{\\rt")
}

pub(crate) fn open(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let mut reader =
        Reader { content, at: 0, groups: Vec::new(), beyond: 0, digits: Vec::new(), text: Vec::new(), objects: 0, tokens: 0, sink };
    reader.run()
}

/// Where what a group holds goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// The document's text, which stands in the clear.
    Text,
    /// Into the digits at that place.
    Digits(usize),
    /// A field's instruction.
    Field,
    /// The address of a template.
    Template,
}

#[derive(Clone, Copy)]
struct Group {
    target: Target,
    /// Whether it set the target itself, so that its end is the end of what goes there.
    is_owner: bool,
    /// Whether readers that do not know it pass over it.
    is_ignorable: bool,
}

struct Reader<'a, 's> {
    content: &'a [u8],
    at: usize,
    groups: Vec<Group>,
    /// Groups deeper than the deepest that are open.
    beyond: usize,
    /// Open collections, the innermost last.
    digits: Vec<Digits>,
    text: Vec<u8>,
    objects: usize,
    tokens: usize,
    sink: &'s mut dyn Sink,
}

impl Reader<'_, '_> {
    fn run(&mut self) -> Result<(), Stop> {
        const BETWEEN_TICKS: usize = 256;
        while let Some(&byte) = self.content.get(self.at) {
            self.tokens += 1;
            if self.tokens.is_multiple_of(BETWEEN_TICKS) {
                self.sink.tick()?;
            }
            match byte {
                b'{' => self.group_starts(),
                b'}' => self.group_ends()?,
                b'\\' => self.control()?,
                _ => self.plain()?,
            }
        }
        if !self.digits.is_empty() {
            self.sink.unexamined(Reason::Broken, DETAIL);
        } else if !self.groups.is_empty() {
            self.sink.note("groups without their end");
        }
        while !self.groups.is_empty() {
            self.group_ends()?;
        }
        Ok(())
    }

    fn group_starts(&mut self) {
        self.at += 1;
        if self.groups.len() >= DEEPEST {
            self.beyond += 1;
            return;
        }
        let around = self.groups.last().copied();
        let target = around.map_or(Target::Text, |group| group.target);
        let inherits = around.is_some_and(|group| group.is_ignorable && !group.is_owner);
        self.groups.push(Group { target, is_owner: false, is_ignorable: inherits });
    }

    fn group_ends(&mut self) -> Result<(), Stop> {
        self.at += 1;
        if self.beyond > 0 {
            self.beyond -= 1;
            return Ok(());
        }
        let Some(group) = self.groups.pop().filter(|group| group.is_owner) else { return Ok(()) };
        match group.target {
            Target::Text => Ok(()),
            Target::Digits(_) => match self.digits.pop() {
                Some(digits) => self.finish(digits),
                None => Ok(()),
            },
            Target::Field => {
                field::judge(&String::from_utf8_lossy(&std::mem::take(&mut self.text)), self.sink);
                Ok(())
            }
            Target::Template => {
                field::judge_template(&String::from_utf8_lossy(&std::mem::take(&mut self.text)), self.sink);
                Ok(())
            }
        }
    }

    /// A control word, a control symbol, or bytes behind `\bin`.
    fn control(&mut self) -> Result<(), Stop> {
        const LONGEST_WORD: usize = 64;
        const LONGEST_NUMBER: usize = 10;
        let rest = self.content.get(self.at + 1..).unwrap_or_default();
        let letters = rest.iter().take(LONGEST_WORD).take_while(|byte| byte.is_ascii_alphabetic()).count();
        if letters == 0 {
            self.symbol(rest);
            return Ok(());
        }
        let word = rest.get(..letters).unwrap_or_default().to_ascii_lowercase();
        let rest = rest.get(letters..).unwrap_or_default();
        let is_negative = rest.first() == Some(&b'-');
        let sign = usize::from(is_negative);
        let digits = rest.iter().skip(sign).take(LONGEST_NUMBER).take_while(|byte| byte.is_ascii_digit()).count();
        let number = rest
            .get(sign..sign + digits)
            .unwrap_or_default()
            .iter()
            .fold(0usize, |sum, digit| sum.saturating_mul(10) + usize::from(digit - b'0'));
        let used = if digits == 0 { 0 } else { sign + digits };
        let space = usize::from(rest.get(used) == Some(&b' '));
        self.at += 1 + letters + used + space;
        match word.as_slice() {
            b"bin" if !is_negative => self.raw(number),
            b"objdata" => self.collect(Purpose::Object),
            b"pict" => self.collect(Purpose::Picture),
            b"datastore" | b"themedata" | b"colorschememapping" | b"fontemb" | b"svb" => self.collect(Purpose::Data),
            b"fldinst" => self.retarget(Target::Field),
            b"template" => self.retarget(Target::Template),
            b"objupdate" => {
                field::updates_itself(self.sink);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn symbol(&mut self, rest: &[u8]) {
        self.at += 2;
        match rest.first() {
            Some(b'*') => {
                if let Some(group) = self.groups.last_mut() {
                    group.is_ignorable = true;
                }
            }
            Some(b'\'') => {
                self.at += 2;
                let code = rest.get(1..3).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
                match self.groups.last().map(|group| group.target) {
                    Some(Target::Digits(index)) => {
                        if let Some(digits) = self.digits.get_mut(index) {
                            digits.drop_half();
                        }
                    }
                    Some(Target::Field | Target::Template) => self.text.extend(code.filter(|_| self.text.len() < MOST_TEXT)),
                    Some(Target::Text) | None => {}
                }
            }
            Some(_) | None => {}
        }
    }

    fn retarget(&mut self, target: Target) -> Result<(), Stop> {
        if let Some(group) = self.groups.last_mut().filter(|group| group.target == Target::Text) {
            *group = Group { target, is_owner: true, ..*group };
            self.text.clear();
        }
        Ok(())
    }

    fn collect(&mut self, purpose: Purpose) -> Result<(), Stop> {
        let Some(group) = self.groups.last_mut() else { return Ok(()) };
        if group.is_owner {
            // The same group starts anew: what was collected so far is a reading of its own.
            if let Target::Digits(_) = group.target {
                let next = Digits::new(purpose);
                if let Some(digits) = self.digits.last_mut().map(|last| std::mem::replace(last, next)) {
                    return self.finish(digits);
                }
            }
            return Ok(());
        }
        *group = Group { target: Target::Digits(self.digits.len()), is_owner: true, ..*group };
        self.digits.push(Digits::new(purpose));
        Ok(())
    }

    /// Text up to the next brace or backslash.
    fn plain(&mut self) -> Result<(), Stop> {
        let rest = self.content.get(self.at..).unwrap_or_default();
        let length = memchr3(b'{', b'}', b'\\', rest).unwrap_or(rest.len());
        let text = rest.get(..length).unwrap_or_default();
        self.at += length;
        let Some(group) = self.groups.last().copied() else { return Ok(()) };
        match group.target {
            Target::Text => {}
            Target::Digits(index) => {
                let is_ignored = group.is_ignorable && !group.is_owner;
                if let Some(digits) = self.digits.get_mut(index) {
                    digits.add(text, is_ignored, self.sink)?;
                }
            }
            Target::Field | Target::Template => {
                let room = MOST_TEXT.saturating_sub(self.text.len());
                self.text.extend(text.iter().filter(|byte| !matches!(byte, b'\r' | b'\n')).take(room));
            }
        }
        Ok(())
    }

    fn raw(&mut self, length: usize) -> Result<(), Stop> {
        let rest = self.content.get(self.at..).unwrap_or_default();
        let bytes = rest.get(..length).unwrap_or(rest);
        self.at += bytes.len();
        if bytes.len() < length {
            self.sink.unexamined(Reason::Broken, DETAIL);
        }
        match self.groups.last().map(|group| group.target) {
            Some(Target::Digits(index)) => match self.digits.get_mut(index) {
                Some(digits) => digits.add_raw(bytes, self.sink),
                None => Ok(()),
            },
            Some(Target::Text | Target::Field | Target::Template) | None if bytes.is_empty() => Ok(()),
            // Who reads braces in it as braces reads on in it.
            Some(Target::Text | Target::Field | Target::Template) | None => self.sink.part("binary", bytes).map(drop),
        }
    }

    /// Examines what was collected, in every reading.
    fn finish(&mut self, digits: Digits) -> Result<(), Stop> {
        self.objects += 1;
        let name = format!("{}-{}", digits.purpose.name(), self.objects);
        let (held, purpose) = (digits.held, digits.purpose);
        for reading in digits.readings() {
            match purpose {
                Purpose::Picture if reading.is_empty() => {}
                Purpose::Picture => ole::picture(&name, &reading, self.sink)?,
                Purpose::Object | Purpose::Data => object(&name, &reading, self.sink)?,
            }
        }
        self.sink.release(held);
        Ok(())
    }
}

/// An object as OLE 1 wraps it, or whatever else the bytes are; a compound file anywhere in them is opened.
fn object(name: &str, bytes: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    if bytes.is_empty() || ole::embedded_object(name, bytes, sink)? {
        return Ok(());
    }
    if memmem::find(bytes, ole::MAGIC).is_none() {
        // Off by half a byte, it may be there all the same.
        let shifted = hex::shifted(bytes);
        sink.hold(shifted.len() as u64)?;
        let found = memmem::find(&shifted, ole::MAGIC).is_some() && wrapped(name, &shifted, sink)?;
        sink.release(shifted.len() as u64);
        if found {
            return Ok(());
        }
    }
    wrapped(name, bytes, sink).map(drop)
}

/// Examines an object without a header that makes sense, and the compound file in it; whether there is one.
fn wrapped(name: &str, bytes: &[u8], sink: &mut dyn Sink) -> Result<bool, Stop> {
    let magic = memmem::find(bytes, ole::MAGIC);
    if let Some(at) = magic.filter(|at| *at > 0) {
        sink.part(&format!("{name}-at-{at}"), bytes.get(at..).unwrap_or_default())?;
    }
    sink.part(name, bytes)?;
    Ok(magic.is_some())
}
