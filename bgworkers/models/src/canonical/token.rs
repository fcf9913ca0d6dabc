//! JSON tokens (RFC 8259), strictly.

use super::CanonicalError;

pub(super) struct Tokens<'a> {
    json: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    pub fn new(json: &'a str) -> Self {
        Self { json, at: 0 }
    }

    pub fn offset(&self) -> usize {
        self.at
    }

    pub fn error(&self, message: &'static str) -> CanonicalError {
        CanonicalError { message, offset: self.at }
    }

    fn byte(&self) -> Option<u8> {
        self.json.as_bytes().get(self.at).copied()
    }

    /// The first byte after white space.
    pub fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte() {
            self.at += 1;
        }
        self.byte()
    }

    /// Steps over the byte just seen.
    pub fn bump(&mut self) {
        self.at += 1;
    }

    /// Steps over white space and `byte`, if it comes next.
    pub fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.bump();
        }
        found
    }

    pub fn expect(&mut self, byte: u8, message: &'static str) -> Result<(), CanonicalError> {
        if self.eat(byte) { Ok(()) } else { Err(self.error(message)) }
    }

    /// Nothing but white space is left.
    pub fn end(&mut self) -> Result<(), CanonicalError> {
        if self.peek().is_none() { Ok(()) } else { Err(self.error("trailing characters")) }
    }

    /// A member's name and its colon.
    pub fn key(&mut self) -> Result<String, CanonicalError> {
        if self.peek() != Some(b'"') {
            return Err(self.error("expected a key"));
        }
        let key = self.string()?;
        self.expect(b':', "expected `:`")?;
        Ok(key)
    }

    pub fn literal(&mut self) -> Result<&'static str, CanonicalError> {
        let rest = self.json.as_bytes().get(self.at..).unwrap_or_default();
        let literal = ["true", "false", "null"].into_iter().find(|literal| rest.starts_with(literal.as_bytes()));
        let literal = literal.ok_or_else(|| self.error("expected a value"))?;
        self.at += literal.len();
        Ok(literal)
    }

    pub fn number(&mut self) -> Result<&'a str, CanonicalError> {
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        if self.byte() == Some(b'0') {
            self.at += 1;
            if self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
                return Err(self.error("leading zero"));
            }
        } else {
            self.digits()?;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(self.json.get(start..self.at).unwrap_or_default())
    }

    fn digits(&mut self) -> Result<(), CanonicalError> {
        if !self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            return Err(self.error("expected a digit"));
        }
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }

    /// The text of a string whose opening quote comes next.
    pub fn string(&mut self) -> Result<String, CanonicalError> {
        self.bump();
        let mut text = String::new();
        loop {
            let start = self.at;
            while self.byte().is_some_and(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
                self.at += 1;
            }
            text.push_str(self.json.get(start..self.at).unwrap_or_default());
            match self.byte() {
                Some(b'"') => {
                    self.bump();
                    return Ok(text);
                }
                Some(b'\\') => text.push(self.escape()?),
                Some(_) => return Err(self.error("control character in a string")),
                None => return Err(self.error("unterminated string")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, CanonicalError> {
        let start = self.at;
        self.bump();
        let letter = self.byte();
        self.bump();
        Ok(match letter {
            Some(plain @ (b'"' | b'\\' | b'/')) => char::from(plain),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let lone = CanonicalError { message: "unpaired surrogate", offset: start };
                let unit = self.hex4()?;
                let code = match unit {
                    0xd800..=0xdbff => {
                        if self.json.as_bytes().get(self.at..self.at + 2) != Some(b"\\u") {
                            return Err(lone);
                        }
                        self.at += 2;
                        match self.hex4()? {
                            low @ 0xdc00..=0xdfff => 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00),
                            _ => return Err(lone),
                        }
                    }
                    unit => unit,
                };
                // Fails for a low surrogate that comes first.
                char::from_u32(code).ok_or(lone)?
            }
            _ => return Err(CanonicalError { message: "unknown escape", offset: start }),
        })
    }

    fn hex4(&mut self) -> Result<u32, CanonicalError> {
        let digits =
            self.json.get(self.at..self.at + 4).filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let value = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let value = value.ok_or_else(|| self.error("expected four hex digits"))?;
        self.at += 4;
        Ok(value)
    }
}
