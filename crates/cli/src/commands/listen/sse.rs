//! Server-sent events, as the service writes them (HTML standard, section 9.2.6).

/// Longer lines are no events of the service, whose bodies stay under 64 KiB.
const LINE_MAX: usize = 1 << 20;

/// What a stream brings.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    Message(Message),
    /// An id without an event: everything before it is here.
    Place(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    /// Of this event; a gap has none.
    pub(super) id: Option<String>,
    pub(super) event: String,
    pub(super) data: String,
}

/// A line does not end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Endless;

/// Puts items together from bytes as they come.
#[derive(Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    message: Message,
}

impl Parser {
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Item>, Endless> {
        let mut items = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.len() > LINE_MAX {
                return Err(Endless);
            }
            if self.line.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                items.extend(self.take_line(&String::from_utf8_lossy(&line)));
            }
        }
        Ok(items)
    }

    fn take_line(&mut self, line: &str) -> Option<Item> {
        let line = line.trim_end_matches(['\n', '\r']);
        if line.is_empty() {
            let message = std::mem::take(&mut self.message);
            return match (message.data.is_empty(), message.id) {
                (true, Some(place)) => Some(Item::Place(place)),
                (true, None) => None,
                (false, id) => Some(Item::Message(Message { id, ..message })),
            };
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" if !value.contains('\0') => self.message.id = Some(value.to_owned()),
            "event" => self.message.event = value.to_owned(),
            "data" => {
                if !self.message.data.is_empty() {
                    self.message.data.push('\n');
                }
                self.message.data.push_str(value);
            }
            // Comments have no name; other fields mean nothing here.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: Option<&str>, event: &str, data: &str) -> Item {
        Item::Message(Message { id: id.map(str::to_owned), event: event.into(), data: data.into() })
    }

    #[test]
    fn a_line_without_an_end_is_refused() {
        let mut parser = Parser::default();
        assert_eq!(parser.feed(&vec![b'x'; LINE_MAX + 1]), Err(Endless));
    }

    #[test]
    fn puts_together_what_comes_in_pieces() {
        let stream = ": connected\n\nid: at_1\n\nid: evt_1\nevent: scan.complete\ndata: {\"a\": \"ü\"}\n\nevent: gap\r\ndata: {}\r\n\r\nretry: 5\n\n: x\nid:evt_2\ndata:1\ndata: 2\n\n";
        let expected = [
            Item::Place("at_1".into()),
            message(Some("evt_1"), "scan.complete", "{\"a\": \"ü\"}"),
            message(None, "gap", "{}"),
            message(Some("evt_2"), "", "1\n2"),
        ];
        for size in [1, 2, 7, stream.len()] {
            let mut parser = Parser::default();
            let items: Vec<_> = stream.as_bytes().chunks(size).flat_map(|bytes| parser.feed(bytes).unwrap()).collect();
            assert_eq!(items, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn what_has_not_ended_has_not_come() {
        let mut parser = Parser::default();
        assert_eq!(parser.feed(b"id: evt_1\ndata: {}\n").unwrap(), []);
        assert_eq!(parser.feed(b"\n").unwrap(), [message(Some("evt_1"), "", "{}")]);
    }
}
