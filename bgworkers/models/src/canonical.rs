//! Canonical JSON: keys by code point, no white space, NIP-01 escapes, numbers in plain decimal without trailing zeros.
//!
//! Works on text with a tokenizer of its own, because a number must keep every digit and depth must not cost stack.

mod number;
mod token;

use crate::escape::{Controls, into_string, push_string};
use std::ops::Range;
use token::Tokens;

/// How deep arrays and objects may be nested.
pub const MAX_DEPTH: usize = 10_000;

/// How many zeros the exponent of a number may stand for. A number without exponent may have any length.
pub const MAX_EXPONENT_ZEROS: usize = 4_096;

/// Why a text has no canonical form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} at byte {offset}")]
pub struct CanonicalError {
    /// What was found or missed.
    pub message: &'static str,
    /// Where in the text, in bytes from its beginning.
    pub offset: usize,
}

/// The canonical form of one JSON value given as text. Iterative: depth is bounded by `MAX_DEPTH`, not by the stack.
///
/// Of members with the same key the last counts, as in `jsonb`. Unpaired surrogates are an error, U+0000 is not.
pub fn canonical_json(json: &str) -> Result<String, CanonicalError> {
    let tree = parse(json)?;
    Ok(into_string(tree.write(json.len())))
}

/// A value; containers refer to others by their place in [`Tree::nodes`], so that nothing recurses, not even a drop.
enum Node {
    /// Where its canonical text stands in [`Tree::scalars`].
    Scalar(Range<usize>),
    Array(Vec<usize>),
    /// Sorted by key, keys distinct.
    Object(Vec<(String, usize)>),
}

struct Tree {
    nodes: Vec<Node>,
    scalars: Vec<u8>,
    root: usize,
}

/// A container whose end has not been seen.
enum Open {
    Array(Vec<usize>),
    /// The members so far and the key of the value to come.
    Object(Vec<(String, usize)>, String),
}

fn parse(json: &str) -> Result<Tree, CanonicalError> {
    let mut tokens = Tokens::new(json);
    let mut open: Vec<Open> = Vec::new();
    let mut nodes = Vec::new();
    let mut scalars = Vec::new();
    loop {
        let start = scalars.len();
        let mut complete = match tokens.peek() {
            Some(b'{' | b'[') if open.len() == MAX_DEPTH => return Err(tokens.error("nested too deeply")),
            Some(b'{') => {
                tokens.bump();
                if tokens.eat(b'}') {
                    Node::Object(Vec::new())
                } else {
                    open.push(Open::Object(Vec::new(), tokens.key()?));
                    continue;
                }
            }
            Some(b'[') => {
                tokens.bump();
                if tokens.eat(b']') {
                    Node::Array(Vec::new())
                } else {
                    open.push(Open::Array(Vec::new()));
                    continue;
                }
            }
            Some(b'"') => {
                push_string(&mut scalars, &tokens.string()?, Controls::Lower);
                Node::Scalar(start..scalars.len())
            }
            Some(b'-' | b'0'..=b'9') => {
                let at = tokens.offset();
                number::push_plain(&mut scalars, tokens.number()?)
                    .map_err(|message| CanonicalError { message, offset: at })?;
                Node::Scalar(start..scalars.len())
            }
            _ => {
                scalars.extend_from_slice(tokens.literal()?.as_bytes());
                Node::Scalar(start..scalars.len())
            }
        };
        // `complete` may be the last of its container, and that container the last of its own.
        loop {
            let node = nodes.len();
            nodes.push(complete);
            match open.pop() {
                None => {
                    tokens.end()?;
                    return Ok(Tree { nodes, scalars, root: node });
                }
                Some(Open::Array(mut elements)) => {
                    elements.push(node);
                    if tokens.eat(b',') {
                        open.push(Open::Array(elements));
                        break;
                    }
                    tokens.expect(b']', "expected `,` or `]`")?;
                    complete = Node::Array(elements);
                }
                Some(Open::Object(mut members, key)) => {
                    members.push((key, node));
                    if tokens.eat(b',') {
                        open.push(Open::Object(members, tokens.key()?));
                        break;
                    }
                    tokens.expect(b'}', "expected `,` or `}`")?;
                    complete = Node::Object(sorted(members));
                }
            }
        }
    }
}

/// By key, of equal keys the last. UTF-8 sorts as code points do.
fn sorted(mut members: Vec<(String, usize)>) -> Vec<(String, usize)> {
    members.sort_by(|(one, first), (other, second)| one.cmp(other).then(second.cmp(first)));
    members.dedup_by(|(one, _), (other, _)| one == other);
    members
}

impl Tree {
    fn write(&self, hint: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(hint);
        // Containers being written, with the number of their values written so far.
        let mut open: Vec<(usize, usize)> = vec![];
        let mut next = Some(self.root);
        loop {
            if let Some(node) = next.take() {
                match self.nodes.get(node) {
                    Some(Node::Scalar(text)) => {
                        out.extend_from_slice(self.scalars.get(text.clone()).unwrap_or_default())
                    }
                    Some(Node::Array(_)) => {
                        out.push(b'[');
                        open.push((node, 0));
                    }
                    Some(Node::Object(_)) => {
                        out.push(b'{');
                        open.push((node, 0));
                    }
                    None => {}
                }
            }
            let Some((node, written)) = open.last_mut() else { return out };
            let (child, key, close) = match self.nodes.get(*node) {
                Some(Node::Object(members)) => {
                    let member = members.get(*written);
                    (member.map(|(_, child)| *child), member.map(|(key, _)| key), b'}')
                }
                Some(Node::Array(elements)) => (elements.get(*written).copied(), None, b']'),
                _ => (None, None, b' '),
            };
            match child {
                None => {
                    out.push(close);
                    open.pop();
                }
                Some(_) => {
                    if *written > 0 {
                        out.push(b',');
                    }
                    *written += 1;
                    if let Some(key) = key {
                        push_string(&mut out, key, Controls::Lower);
                        out.push(b':');
                    }
                    next = child;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
