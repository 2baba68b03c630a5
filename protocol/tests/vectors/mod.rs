//! Reads `golden/vectors.txt`: for each vector its name, the value as Rust
//! prints it, and the frame in hexadecimal, header apart, 32 bytes a line.

#![allow(dead_code, clippy::unwrap_used, unreachable_pub)] // each test binary uses a part

use bytes::Bytes;

const TEXT: &str = include_str!("../golden/vectors.txt");

/// Length field, kind and request number.
const HEAD_BYTES: usize = 10;

pub struct Vector {
    /// `Table.Kind`, or `Table.Kind with Enum::Variant`.
    pub name: String,
    pub value: String,
    pub bytes: Bytes,
}

impl Vector {
    pub fn new(name: String, value: String, bytes: Bytes) -> Self {
        Self { name, value, bytes }
    }

    fn path(&self) -> (&str, &str) {
        let path = self.name.split(' ').next().unwrap();
        path.split_once('.').unwrap()
    }

    pub fn table(&self) -> &str {
        self.path().0
    }

    pub fn kind(&self) -> &str {
        self.path().1
    }
}

impl std::fmt::Display for Vector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(formatter, "{}", self.name)?;
        writeln!(formatter, "= {}", self.value)?;
        let (head, body) = self.bytes.split_at(HEAD_BYTES);
        for line in std::iter::once(head).chain(body.chunks(32)) {
            let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(formatter, "  {}", hex.join(" "))?;
        }
        Ok(())
    }
}

/// Every vector of the file.
pub fn all() -> Vec<Vector> {
    let text = TEXT.lines().filter(|line| !line.starts_with('#'));
    let mut vectors: Vec<Vector> = Vec::new();
    let mut hex = String::new();
    let close = |vectors: &mut Vec<Vector>, hex: &mut String| {
        if let Some(last) = vectors.last_mut() {
            last.bytes = Bytes::from(read_hex(hex));
        }
        hex.clear();
    };
    for line in text {
        if line.is_empty() {
            continue;
        }
        if let Some(value) = line.strip_prefix("= ") {
            vectors.last_mut().unwrap().value = value.to_owned();
        } else if line.starts_with(' ') {
            hex.push_str(line);
        } else {
            close(&mut vectors, &mut hex);
            vectors.push(Vector::new(line.to_owned(), String::new(), Bytes::new()));
        }
    }
    close(&mut vectors, &mut hex);
    vectors
}

pub fn of_table(table: &str) -> Vec<Vector> {
    all()
        .into_iter()
        .filter(|vector| vector.table() == table)
        .collect()
}

pub fn named(name: &str) -> Vector {
    let found = all().into_iter().find(|vector| vector.name == name);
    found.unwrap_or_else(|| panic!("no vector is called {name}"))
}

/// Bytes of hexadecimal pairs, with any white space between them.
pub fn read_hex(text: &str) -> Vec<u8> {
    text.split_whitespace()
        .map(|pair| u8::from_str_radix(pair, 16).unwrap_or_else(|_| panic!("{pair} is not hex")))
        .collect()
}
