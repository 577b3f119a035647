//! Reading PDF values (ISO 32000-2, 7.2 and 7.3) the way forgiving readers do: whatever is malformed is stepped over, nothing is refused.

/// Arrays and dictionaries nested deeper are stepped over, not kept.
const MAX_DEPTH: u32 = 64;
/// Values kept of one object; the rest is read and dropped, and [`Parsed::overflow`] says so.
const MAX_VALUES: u32 = 16_384;
/// Bytes kept of a string or name. Among those that are read for the structure, the longest, an owner key, has 127.
pub(super) const MAX_TEXT: usize = 512;
/// The same where the strings themselves are of use.
const MAX_WHOLE_TEXT: usize = 16 << 20;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Real,
    Text(Vec<u8>),
    Name(Vec<u8>),
    Array(Vec<Value>),
    Dictionary(Dictionary),
    Reference(u32),
}

/// The entries in the order of the file, keys that occur twice included.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Dictionary(Vec<(Vec<u8>, Value)>);

/// One value read from the file, and where reading ended.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) value: Value,
    pub(super) end: usize,
    /// The file ended inside the value.
    pub(super) cut: bool,
    /// More values than are kept.
    pub(super) overflow: bool,
}

/// Reads the value at `start`; `Null` where there is none.
pub(super) fn parse(content: &[u8], start: usize) -> Parsed {
    parse_within(content, start, MAX_TEXT)
}

/// The same with all of its strings.
pub(super) fn parse_whole(content: &[u8], start: usize) -> Parsed {
    parse_within(content, start, MAX_WHOLE_TEXT)
}

fn parse_within(content: &[u8], start: usize, longest: usize) -> Parsed {
    let mut lexer = Lexer { content, at: start.min(content.len()), kept: 0, cut: false, longest };
    let value = match lexer.token() {
        Some(token) => lexer.value(token, 0).unwrap_or(Value::Null),
        None => {
            lexer.cut = true;
            Value::Null
        }
    };
    Parsed { value, end: lexer.at, cut: lexer.cut, overflow: lexer.kept > MAX_VALUES }
}

/// The position after white space and comments.
pub(super) fn skip_blank(content: &[u8], start: usize) -> usize {
    let mut lexer = Lexer { content, at: start.min(content.len()), kept: 0, cut: false, longest: MAX_TEXT };
    lexer.skip_blank();
    lexer.at
}

pub(super) fn is_white(byte: u8) -> bool {
    matches!(byte, 0 | b'\t' | b'\n' | 0x0c | b'\r' | b' ')
}

pub(super) fn is_regular(byte: u8) -> bool {
    !is_white(byte) && !matches!(byte, b'(' | b')' | b'<' | b'>' | b'[' | b']' | b'{' | b'}' | b'/' | b'%')
}

impl Dictionary {
    /// The last value of `key`, which is the one that most readers take.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().rev().find(|(name, _)| name == key.as_bytes()).map(|(_, value)| value)
    }

    /// Every value of `key`, the last first: readers differ when a key is repeated.
    pub(super) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Value> {
        self.0.iter().rev().filter(move |(name, _)| name == key.as_bytes()).map(|(_, value)| value)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&[u8], &Value)> {
        self.0.iter().map(|(name, value)| (name.as_slice(), value))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Value> {
        self.0.iter().map(|(_, value)| value)
    }
}

impl Value {
    pub(super) fn as_dictionary(&self) -> Option<&Dictionary> {
        if let Self::Dictionary(dictionary) = self { Some(dictionary) } else { None }
    }

    pub(super) fn as_text(&self) -> Option<&[u8]> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn as_name(&self) -> Option<&[u8]> {
        if let Self::Name(name) = self { Some(name) } else { None }
    }

    pub(super) fn as_integer(&self) -> Option<i64> {
        if let Self::Integer(number) = self { Some(*number) } else { None }
    }
}

enum Token {
    Value(Value),
    ArrayStart,
    ArrayEnd,
    DictionaryStart,
    DictionaryEnd,
    /// A bare word that means nothing inside a value, or a stray delimiter.
    Junk,
    /// `stream`, `obj`, `endobj`, `endstream`: no value goes on past one.
    Boundary,
}

struct Lexer<'a> {
    content: &'a [u8],
    at: usize,
    kept: u32,
    cut: bool,
    /// Bytes kept of a string.
    longest: usize,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<u8> {
        self.content.get(self.at).copied()
    }

    fn peek_after(&self, ahead: usize) -> Option<u8> {
        self.content.get(self.at.saturating_add(ahead)).copied()
    }

    fn skip_blank(&mut self) {
        while let Some(byte) = self.peek() {
            if byte == b'%' {
                while self.peek().is_some_and(|byte| byte != b'\n' && byte != b'\r') {
                    self.at += 1;
                }
            } else if is_white(byte) {
                self.at += 1;
            } else {
                return;
            }
        }
    }

    /// The next token; `None` at the end of the file. A boundary is left unread.
    fn token(&mut self) -> Option<Token> {
        self.skip_blank();
        let byte = self.peek()?;
        let token = match byte {
            b'/' => Token::Value(self.name()),
            b'(' => Token::Value(self.literal_text()),
            b'<' if self.peek_after(1) == Some(b'<') => {
                self.at += 2;
                Token::DictionaryStart
            }
            b'<' => Token::Value(self.hex_text()),
            b'>' if self.peek_after(1) == Some(b'>') => {
                self.at += 2;
                Token::DictionaryEnd
            }
            b'[' => {
                self.at += 1;
                Token::ArrayStart
            }
            b']' => {
                self.at += 1;
                Token::ArrayEnd
            }
            b'>' | b')' | b'{' | b'}' => {
                self.at += 1;
                Token::Junk
            }
            _ => self.word(),
        };
        Some(token)
    }

    fn value(&mut self, token: Token, depth: u32) -> Option<Value> {
        match token {
            Token::Value(Value::Integer(number)) => Some(self.reference(number).unwrap_or(Value::Integer(number))),
            Token::Value(value) => Some(value),
            Token::ArrayStart if depth >= MAX_DEPTH => Some(self.step_over()),
            Token::DictionaryStart if depth >= MAX_DEPTH => Some(self.step_over()),
            Token::ArrayStart => Some(self.array(depth)),
            Token::DictionaryStart => Some(self.dictionary(depth)),
            Token::ArrayEnd | Token::DictionaryEnd | Token::Junk | Token::Boundary => None,
        }
    }

    /// Counts a value of the object; whether it is still kept.
    fn keep(&mut self) -> bool {
        self.kept = self.kept.saturating_add(1);
        self.kept <= MAX_VALUES
    }

    fn array(&mut self, depth: u32) -> Value {
        let mut values = Vec::new();
        loop {
            match self.token() {
                None => {
                    self.cut = true;
                    break;
                }
                Some(Token::ArrayEnd | Token::Boundary) => break,
                // The array was not closed; the dictionary around it is.
                Some(Token::DictionaryEnd) => {
                    self.at = self.at.saturating_sub(2);
                    break;
                }
                Some(token) => {
                    if let Some(value) = self.value(token, depth + 1)
                        && self.keep()
                    {
                        values.push(value);
                    }
                }
            }
        }
        Value::Array(values)
    }

    fn dictionary(&mut self, depth: u32) -> Value {
        let mut entries = Vec::new();
        let mut key = None;
        loop {
            let token = match self.token() {
                None => {
                    self.cut = true;
                    break;
                }
                Some(Token::DictionaryEnd | Token::Boundary) => break,
                Some(token) => token,
            };
            match (key.take(), token) {
                (None, Token::Value(Value::Name(name))) => key = Some(name),
                // What stands where a key should be: step over it, nested values whole.
                (None, token) => drop(self.value(token, depth + 1)),
                (Some(name), token) => {
                    if let Some(value) = self.value(token, depth + 1)
                        && self.keep()
                    {
                        entries.push((name, value));
                    }
                }
            }
        }
        Value::Dictionary(Dictionary(entries))
    }

    /// Reads to the end of a nest that is too deep, without recursion.
    fn step_over(&mut self) -> Value {
        let mut open = 1_u64;
        while open > 0 {
            match self.token() {
                None => {
                    self.cut = true;
                    break;
                }
                Some(Token::Boundary) => break,
                Some(Token::ArrayStart | Token::DictionaryStart) => open = open.saturating_add(1),
                Some(Token::ArrayEnd | Token::DictionaryEnd) => open = open.saturating_sub(1),
                Some(Token::Value(_) | Token::Junk) => {}
            }
        }
        Value::Null
    }

    /// `number` was read: is it the start of `number generation R`?
    fn reference(&mut self, number: i64) -> Option<Value> {
        let number = u32::try_from(number).ok()?;
        let before = self.at;
        let found = self.reference_tail();
        if !found {
            self.at = before;
        }
        found.then_some(Value::Reference(number))
    }

    fn reference_tail(&mut self) -> bool {
        self.skip_blank();
        let digits = self.at;
        while self.at - digits < 10 && self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == digits {
            return false;
        }
        let blank = self.at;
        self.skip_blank();
        if self.at == blank || self.peek() != Some(b'R') || self.peek_after(1).is_some_and(is_regular) {
            return false;
        }
        self.at += 1;
        true
    }

    fn name(&mut self) -> Value {
        self.at += 1;
        let mut name = Vec::new();
        while let Some(byte) = self.peek().filter(|byte| is_regular(*byte)) {
            let escaped = if byte == b'#' { self.hex_pair(1) } else { None };
            self.at += if escaped.is_some() { 3 } else { 1 };
            if name.len() < MAX_TEXT {
                name.push(escaped.unwrap_or(byte));
            }
        }
        Value::Name(name)
    }

    fn push(&self, text: &mut Vec<u8>, byte: u32) {
        if text.len() < self.longest {
            text.push(u8::try_from(byte & 0xff).unwrap_or_default());
        }
    }

    fn hex_pair(&self, ahead: usize) -> Option<u8> {
        let high = char::from(self.peek_after(ahead)?).to_digit(16)?;
        let low = char::from(self.peek_after(ahead + 1)?).to_digit(16)?;
        u8::try_from(high * 16 + low).ok()
    }

    fn hex_text(&mut self) -> Value {
        self.at += 1;
        let mut text = Vec::new();
        let mut half: Option<u32> = None;
        loop {
            let Some(byte) = self.peek() else {
                self.cut = true;
                break;
            };
            self.at += 1;
            if byte == b'>' {
                break;
            }
            let Some(digit) = char::from(byte).to_digit(16) else { continue };
            match half.take() {
                None => half = Some(digit),
                Some(high) => self.push(&mut text, high * 16 + digit),
            }
        }
        if let Some(high) = half {
            self.push(&mut text, high * 16);
        }
        Value::Text(text)
    }

    fn literal_text(&mut self) -> Value {
        self.at += 1;
        let mut text = Vec::new();
        let mut open = 1_u64;
        loop {
            let Some(byte) = self.peek() else {
                self.cut = true;
                break;
            };
            self.at += 1;
            match byte {
                b'(' => open = open.saturating_add(1),
                b')' => {
                    open -= 1;
                    if open == 0 {
                        break;
                    }
                }
                b'\\' => {
                    if let Some(meant) = self.escape() {
                        self.push(&mut text, meant);
                    }
                    continue;
                }
                _ => {}
            }
            self.push(&mut text, u32::from(byte));
        }
        Value::Text(text)
    }

    /// What follows a backslash in a literal string; `None` for a line that goes on.
    fn escape(&mut self) -> Option<u32> {
        let byte = self.peek()?;
        self.at += 1;
        match byte {
            b'n' => Some(10),
            b'r' => Some(13),
            b't' => Some(9),
            b'b' => Some(8),
            b'f' => Some(12),
            b'\n' => None,
            b'\r' => {
                if self.peek() == Some(b'\n') {
                    self.at += 1;
                }
                None
            }
            b'0'..=b'7' => {
                let mut code = u32::from(byte - b'0');
                for _ in 0..2 {
                    let Some(digit) = self.peek().filter(|digit| matches!(digit, b'0'..=b'7')) else { break };
                    code = code * 8 + u32::from(digit - b'0');
                    self.at += 1;
                }
                Some(code & 0xff)
            }
            other => Some(u32::from(other)),
        }
    }

    fn word(&mut self) -> Token {
        let start = self.at;
        while self.peek().is_some_and(is_regular) {
            self.at += 1;
        }
        let word = self.content.get(start..self.at).unwrap_or_default();
        match word {
            b"true" => Token::Value(Value::Bool(true)),
            b"false" => Token::Value(Value::Bool(false)),
            b"null" => Token::Value(Value::Null),
            b"stream" | b"endstream" | b"obj" | b"endobj" => {
                self.at = start;
                Token::Boundary
            }
            _ => number(word).map_or(Token::Junk, Token::Value),
        }
    }
}

fn number(word: &[u8]) -> Option<Value> {
    if !word.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.')) {
        return None;
    }
    let word = std::str::from_utf8(word).ok()?;
    match word.parse() {
        Ok(number) => Some(Value::Integer(number)),
        // `12.0` counts as 12 where a whole number is wanted, as readers have it.
        Err(_) => match word.split_once('.') {
            Some((whole, fraction)) if fraction.bytes().all(|byte| byte == b'0') => Some(whole.parse().map_or(Value::Real, Value::Integer)),
            _ => Some(Value::Real),
        },
    }
}

#[cfg(test)]
mod tests;
