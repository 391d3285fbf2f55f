use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};

/// A value of any format.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Nothing,
    Switch(bool),
    Whole(i128),
    Decimal(f64),
    Text(String),
    List(Vec<Value>),
    /// In the order of the file, with names that stand there twice.
    Section(Vec<(String, Value)>),
}

/// Says what was found, as in "30 is no time".
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("Nothing"),
            Self::Switch(switch) => write!(f, "{switch}"),
            Self::Whole(whole) => write!(f, "{whole}"),
            // With its point or exponent, by which it differs from a whole number.
            Self::Decimal(decimal) => write!(f, "{decimal:?}"),
            // A long text says no more than its beginning.
            Self::Text(text) => write!(f, "{:?}", text.chars().take(40).collect::<String>()),
            Self::List(_) => f.write_str("A list"),
            Self::Section(_) => f.write_str("A section"),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nothing => serializer.serialize_none(),
            Self::Switch(switch) => serializer.serialize_bool(*switch),
            Self::Whole(whole) => match i64::try_from(*whole) {
                Ok(whole) => serializer.serialize_i64(whole),
                Err(_) => serializer.serialize_i128(*whole),
            },
            Self::Decimal(decimal) => serializer.serialize_f64(*decimal),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(list) => serializer.collect_seq(list),
            Self::Section(section) => {
                serializer.collect_map(section.iter().map(|(name, value)| (name, value)))
            }
        }
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a section of settings, a text or a number")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        inner.deserialize_any(self)
    }

    fn visit_bool<E: Error>(self, switch: bool) -> Result<Value, E> {
        Ok(Value::Switch(switch))
    }

    fn visit_i64<E: Error>(self, whole: i64) -> Result<Value, E> {
        Ok(Value::Whole(whole.into()))
    }

    fn visit_u64<E: Error>(self, whole: u64) -> Result<Value, E> {
        Ok(Value::Whole(whole.into()))
    }

    fn visit_i128<E: Error>(self, whole: i128) -> Result<Value, E> {
        Ok(Value::Whole(whole))
    }

    fn visit_u128<E: Error>(self, whole: u128) -> Result<Value, E> {
        Ok(Value::Whole(i128::try_from(whole).unwrap_or(i128::MAX)))
    }

    fn visit_f64<E: Error>(self, decimal: f64) -> Result<Value, E> {
        Ok(Value::Decimal(decimal))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = access.next_element()? {
            list.push(value);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut section = Vec::new();
        while let Some((name, value)) = access.next_entry::<Value, Value>()? {
            let name = match name {
                Value::Text(name) => name,
                other => other.to_string(),
            };
            section.push((name, value));
        }
        Ok(match section.as_slice() {
            [(name, Value::Text(text))] if name == JSON_NUMBER => number(text),
            [(name, date @ Value::Text(_))] if name == TOML_DATE => date.clone(),
            _ => Value::Section(section),
        })
    }
}

/// A number as `serde_json` passes it with `arbitrary_precision`, which any crate of a program can
/// turn on.
const JSON_NUMBER: &str = "$serde_json::private::Number";

/// A date as `toml` passes it.
const TOML_DATE: &str = "$__toml_private_datetime";

fn number(text: &str) -> Value {
    match (text.parse(), text.parse()) {
        (Ok(whole), _) => Value::Whole(whole),
        (_, Ok(decimal)) => Value::Decimal(decimal),
        _ => Value::Text(text.to_owned()),
    }
}
