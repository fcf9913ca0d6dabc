//! A writer of MaxMind DB files (format 2.0), small enough for tests: a tree of 32-bit records over IPv6, IPv4 networks at `::/96`.

use std::net::IpAddr;

use serde_json::{Value, json};

const SEPARATOR: [u8; 16] = [0; 16];
const MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";

/// Members that are 16-bit integers.
const SHORT: [&str; 5] =
    ["accuracy_radius", "binary_format_major_version", "binary_format_minor_version", "ip_version", "record_size"];

/// What a tree leads to.
#[derive(Clone, Copy)]
enum Child {
    Nothing,
    Node(usize),
    /// Offset in the data section.
    Data(usize),
}

/// A file in the making.
pub struct Mmdb {
    kind: String,
    nodes: Vec<[Child; 2]>,
    data: Vec<u8>,
}

impl Mmdb {
    /// An empty database of this type, such as `GeoLite2-City`.
    pub fn new(kind: &str) -> Self {
        Self { kind: kind.to_owned(), nodes: vec![[Child::Nothing; 2]], data: Vec::new() }
    }

    /// Adds a network. Networks must not contain one another.
    ///
    /// # Panics
    /// If the network is none.
    #[must_use]
    pub fn with(mut self, network: &str, record: &Value) -> Self {
        let (ip, length) = network.split_once('/').expect("address/length");
        let (ip, length): (IpAddr, usize) = (ip.parse().expect("an address"), length.parse().expect("a length"));
        let (bits, length) = match ip {
            IpAddr::V4(ip) => (u128::from(ip.to_bits()), length + 96),
            IpAddr::V6(ip) => (ip.to_bits(), length),
        };
        let offset = self.data.len();
        encode(record, &mut self.data);
        let mut node = 0;
        for depth in 0..length {
            let side = usize::from(bits >> (127 - depth) & 1 == 1);
            if depth + 1 == length {
                self.nodes[node][side] = Child::Data(offset);
            } else if let Child::Node(next) = self.nodes[node][side] {
                node = next;
            } else {
                self.nodes.push([Child::Nothing; 2]);
                let next = self.nodes.len() - 1;
                self.nodes[node][side] = Child::Node(next);
                node = next;
            }
        }
        self
    }

    /// The bytes of the file.
    pub fn build(&self) -> Vec<u8> {
        let count = self.nodes.len();
        let mut file = Vec::new();
        for child in self.nodes.iter().flatten() {
            let record = match child {
                Child::Nothing => count,
                Child::Node(node) => *node,
                Child::Data(offset) => count + SEPARATOR.len() + offset,
            };
            file.extend(u32::try_from(record).expect("a small file").to_be_bytes());
        }
        file.extend(SEPARATOR);
        file.extend(&self.data);
        file.extend(MARKER);
        let metadata = json!({
            "binary_format_major_version": 2, "binary_format_minor_version": 0, "build_epoch": 1_700_000_000_u64,
            "database_type": self.kind, "description": {"en": "made by a test"}, "ip_version": 6, "languages": ["en"],
            "node_count": count, "record_size": 32,
        });
        encode(&metadata, &mut file);
        file
    }
}

fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => control(7, 0, out),
        Value::Bool(value) => control(14, usize::from(*value), out),
        Value::String(text) => {
            control(2, text.len(), out);
            out.extend(text.as_bytes());
        }
        Value::Number(number) => match (number.as_u64(), number.as_f64()) {
            (Some(number), _) if u32::try_from(number).is_ok() => integer(6, number, out),
            (Some(number), _) => integer(9, number, out),
            (None, number) => {
                control(3, 8, out);
                out.extend(number.unwrap_or_default().to_be_bytes());
            }
        },
        Value::Array(values) => {
            control(11, values.len(), out);
            values.iter().for_each(|value| encode(value, out));
        }
        Value::Object(members) => {
            control(7, members.len(), out);
            for (key, value) in members {
                encode(&Value::from(key.as_str()), out);
                match value.as_u64() {
                    // Readers insist on the types of MaxMind's own files.
                    Some(number) if SHORT.contains(&key.as_str()) => integer(5, number, out),
                    Some(number) if key == "build_epoch" => integer(9, number, out),
                    _ => encode(value, out),
                }
            }
        }
    }
}

fn integer(kind: u8, number: u64, out: &mut Vec<u8>) {
    let bytes = number.to_be_bytes();
    let digits = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    control(kind, digits.len(), out);
    out.extend(digits);
}

/// Type and size.
fn control(kind: u8, size: usize, out: &mut Vec<u8>) {
    let (small, rest) = match size {
        0..29 => (size, Vec::new()),
        29..285 => (29, vec![size - 29]),
        _ => (30, vec![(size - 285) >> 8, (size - 285) & 0xff]),
    };
    let small = u8::try_from(small).expect("below 32");
    if kind < 8 {
        out.push(kind << 5 | small);
    } else {
        out.extend([small, kind - 7]);
    }
    out.extend(rest.into_iter().map(|byte| u8::try_from(byte).expect("a byte")));
}
