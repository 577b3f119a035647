//! `data:` addresses in attributes: left out of the views, which have the word alone. What they hold is for the container search.

use super::{Machine, State, Step, is_space};

impl Machine {
    /// The value so far is `data:`, perhaps behind a quote.
    pub(super) fn begin_data(&mut self) {
        self.views.without_comments.pop();
        if self.tag.quote().is_some() {
            self.write(b'"');
        }
        self.tag.clear_value();
        self.state = State::DataType;
    }

    pub(super) fn data_type(&mut self, byte: u8) -> Step {
        match (self.tag.quote(), byte) {
            (_, b',') => self.state = State::Data,
            (Some(quote), _) if quote == byte => self.end_data(),
            (None, b'>') => {
                self.end_data();
                return Step::Again;
            }
            (None, _) if is_space(byte) => self.end_data(),
            (Some(_) | None, _) => {}
        }
        Step::Taken
    }

    pub(super) fn data(&mut self, byte: u8) -> Step {
        let ends = match self.tag.quote() {
            Some(quote) => byte == quote,
            None => byte == b'>' || is_space(byte),
        };
        if ends {
            self.end_data();
        }
        Step::Taken
    }

    fn end_data(&mut self) {
        self.state = State::Attribute;
        self.skips_space = true;
    }
}
