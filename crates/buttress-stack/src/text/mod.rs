//! Configurations in files.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use self::{read::read, value::Value, write::write};
use crate::{
    Misfits,
    config::{ClientConfig, Section, ServerConfig, StackConfig},
    misfit::{contradictions_within, ranges},
};

mod read;
mod value;
mod words;
mod write;

/// Reads all of the file before anything is refused. The error then lists every fault.
impl<'de> Deserialize<'de> for ClientConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        checked(Value::deserialize(deserializer)?)
    }
}

/// As for [`ClientConfig`].
impl<'de> Deserialize<'de> for ServerConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        checked(Value::deserialize(deserializer)?)
    }
}

/// Writes the settings that are set, in words.
impl Serialize for ClientConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write(&mut self.clone()).serialize(serializer)
    }
}

/// Writes the settings that are set, in words.
impl Serialize for ServerConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write(&mut self.clone()).serialize(serializer)
    }
}

fn checked<C, E>(value: Value) -> Result<C, E>
where
    C: Section + StackConfig + Default,
    E: Error,
{
    let mut config = C::default();
    let mut misfits = read(value, &mut config);
    let client = config.clone().into_client();
    misfits.extend(ranges(&client));
    misfits.extend(contradictions_within(&client));
    match Misfits::of(misfits) {
        Some(misfits) => Err(E::custom(misfits)),
        None => Ok(config),
    }
}
