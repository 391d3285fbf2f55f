use std::{
    fmt::{self, Write},
    net::Ipv6Addr,
};

/// A host and port in their canonical form, on the stack.
pub(super) struct AuthorityText {
    bytes: [u8; LONGEST],
    len: usize,
}

impl AuthorityText {
    /// Reads `host` or `host:port`. `None` if either is malformed.
    pub(super) fn new(scheme: Option<&str>, authority: &str) -> Option<Self> {
        let (host, port) = split(authority)?;
        let mut text = Self { bytes: [0; LONGEST], len: 0 };
        text.push_host(host)?;
        if port.is_empty() {
            text.push(default_port(scheme).unwrap_or_default())?;
        } else {
            text.push(":")?;
            text.push(canonical_port(port)?)?;
        }
        Some(text)
    }

    pub(super) fn as_str(&self) -> &str {
        // Only ASCII was pushed.
        self.bytes.get(..self.len).and_then(|bytes| str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    fn push_host(&mut self, host: &str) -> Option<()> {
        if let Some(literal) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            return match literal.parse::<Ipv6Addr>() {
                Ok(address) => write!(self, "[{address}]").ok(),
                // A version of the future, or an address with a zone.
                Err(_) if is_host(literal, b":") => self.push(host),
                Err(_) => None,
            };
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        // With another dot at its end, the key would have another key.
        if is_host(host, b"") && !host.ends_with('.') { self.push(host) } else { None }
    }

    /// Adds ASCII text in lower case, if there is room.
    fn push(&mut self, text: &str) -> Option<()> {
        let end = self.len.checked_add(text.len())?;
        let room = self.bytes.get_mut(self.len..end)?;
        room.copy_from_slice(text.as_bytes());
        room.make_ascii_lowercase();
        self.len = end;
        Some(())
    }
}

impl Write for AuthorityText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text).ok_or(fmt::Error)
    }
}

/// The host, and the port or an empty text.
fn split(authority: &str) -> Option<(&str, &str)> {
    let end = if authority.starts_with('[') {
        authority.find(']')?.checked_add(1)?
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, rest) = authority.split_at_checked(end)?;
    if rest.is_empty() { Some((host, "")) } else { Some((host, rest.strip_prefix(':')?)) }
}

/// Whether `host` is not empty, not too long, and consists of the bytes that RFC 3986, section 3.2.2,
/// permits in a host name, and of `more`.
fn is_host(host: &str, more: &[u8]) -> bool {
    let is_permitted = |byte: &u8| {
        byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(byte) || more.contains(byte)
    };
    (1..=LONGEST_HOST).contains(&host.len()) && host.as_bytes().iter().all(is_permitted)
}

fn default_port(scheme: Option<&str>) -> Option<&'static str> {
    let scheme = scheme?;
    let is = |name: &str| scheme.eq_ignore_ascii_case(name);
    if is("http") || is("ws") {
        Some(":80")
    } else if is("https") || is("wss") {
        Some(":443")
    } else {
        None
    }
}

/// The digits of a port without leading zeros.
fn canonical_port(port: &str) -> Option<&str> {
    // `parse` alone would take a sign.
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    port.parse::<u16>().ok()?;
    let digits = port.trim_start_matches('0');
    Some(if digits.is_empty() { "0" } else { digits })
}

const LONGEST_HOST: usize = 255;

/// A host in brackets, a colon and five digits.
const LONGEST: usize = LONGEST_HOST + 8;
