use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    rc::Rc,
    sync::Arc,
};

/// A key with one encoding as bytes, in every process and in every version of the program.
///
/// A store that many processes share names its entries by these bytes. [`Hash`](std::hash::Hash)
/// does not serve here, because its result may change with the compiler.
///
/// # Contract
///
/// Equal keys write equal bytes. The bytes of a key are never the beginning of the bytes of another
/// key of the same type. So the bytes of a tuple tell its parts apart.
///
/// ```
/// use buttress_core::StoreKey;
///
/// struct Tenant { region: String, id: u64 }
///
/// impl StoreKey for Tenant {
///     fn write(&self, out: &mut Vec<u8>) {
///         (self.region.as_str(), self.id).write(out);
///     }
/// }
///
/// let mut bytes = Vec::new();
/// Tenant { region: "eu".to_owned(), id: 7 }.write(&mut bytes);
/// assert_eq!(bytes, [2, b'e', b'u', 0, 0, 0, 0, 0, 0, 0, 7]);
/// ```
///
/// # Bytes
///
/// | type | bytes |
/// |---|---|
/// | `()` | none |
/// | integers, `bool`, `char` | the value, big-endian. `usize` and `isize` take 8 bytes |
/// | `str`, `String`, `[u8]`, `Vec<u8>` | the length as LEB128, then the bytes |
/// | `[u8; N]`, `Ipv4Addr`, `Ipv6Addr` | the bytes |
/// | `IpAddr` | 4 or 6, then the bytes of the address |
/// | `Option` | 0, or 1 and the value |
/// | tuples | the parts in order |
/// | `&T`, `Box<T>`, `Rc<T>`, `Arc<T>` | those of `T` |
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot name an entry in a store that processes share",
    note = "implement `buttress_core::StoreKey` for the key, or use a string, an integer or a tuple of them"
)]
pub trait StoreKey {
    /// Appends the bytes of the key to `out`.
    fn write(&self, out: &mut Vec<u8>);

    /// Returns whether the key holds credentials, such as a token. Then a cached response stays in
    /// the memory of this process, unless the user decides otherwise.
    ///
    /// Default: `false`.
    fn holds_credentials(&self) -> bool {
        false
    }
}

impl StoreKey for () {
    fn write(&self, _: &mut Vec<u8>) {}
}

impl StoreKey for str {
    fn write(&self, out: &mut Vec<u8>) {
        self.as_bytes().write(out);
    }
}

impl StoreKey for String {
    fn write(&self, out: &mut Vec<u8>) {
        self.as_str().write(out);
    }
}

impl StoreKey for [u8] {
    fn write(&self, out: &mut Vec<u8>) {
        write_length(self.len() as u64, out);
        out.extend_from_slice(self);
    }
}

impl StoreKey for Vec<u8> {
    fn write(&self, out: &mut Vec<u8>) {
        self.as_slice().write(out);
    }
}

impl<const N: usize> StoreKey for [u8; N] {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
}

impl StoreKey for bool {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

impl StoreKey for char {
    fn write(&self, out: &mut Vec<u8>) {
        u32::from(*self).write(out);
    }
}

impl StoreKey for usize {
    fn write(&self, out: &mut Vec<u8>) {
        (*self as u64).write(out);
    }
}

impl StoreKey for isize {
    fn write(&self, out: &mut Vec<u8>) {
        (*self as i64).write(out);
    }
}

impl StoreKey for Ipv4Addr {
    fn write(&self, out: &mut Vec<u8>) {
        self.octets().write(out);
    }
}

impl StoreKey for Ipv6Addr {
    fn write(&self, out: &mut Vec<u8>) {
        self.octets().write(out);
    }
}

impl StoreKey for IpAddr {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::V4(address) => (4_u8, address).write(out),
            Self::V6(address) => (6_u8, address).write(out),
        }
    }
}

impl<T: StoreKey> StoreKey for Option<T> {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_some()));
        if let Some(key) = self {
            key.write(out);
        }
    }

    fn holds_credentials(&self) -> bool {
        self.as_ref().is_some_and(T::holds_credentials)
    }
}

macro_rules! integers {
    ($($integer:ty)*) => {$(
        impl StoreKey for $integer {
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }
        }
    )*};
}

integers! { u8 u16 u32 u64 u128 i8 i16 i32 i64 i128 }

macro_rules! pointers {
    ($($pointer:ty)*) => {$(
        impl<T: StoreKey + ?Sized> StoreKey for $pointer {
            fn write(&self, out: &mut Vec<u8>) {
                (**self).write(out);
            }

            fn holds_credentials(&self) -> bool {
                (**self).holds_credentials()
            }
        }
    )*};
}

pointers! { &T Box<T> Rc<T> Arc<T> }

macro_rules! tuples {
    ($(($($part:ident)+))*) => {$(
        #[expect(non_snake_case, reason = "a part is named as its type")]
        impl<$($part: StoreKey),+> StoreKey for ($($part,)+) {
            fn write(&self, out: &mut Vec<u8>) {
                let ($($part,)+) = self;
                $($part.write(out);)+
            }

            fn holds_credentials(&self) -> bool {
                let ($($part,)+) = self;
                $($part.holds_credentials())||+
            }
        }
    )*};
}

tuples! { (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) }

/// LEB128: seven bits a byte, the lowest first, and the highest bit where more follow.
fn write_length(mut length: u64, out: &mut Vec<u8>) {
    while length > 0x7f {
        out.push(0x80 | u8::try_from(length & 0x7f).unwrap_or_default());
        length >>= 7;
    }
    out.push(u8::try_from(length).unwrap_or_default());
}
