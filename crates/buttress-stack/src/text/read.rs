use std::time::Duration;

use buttress_control::Ratio;
use buttress_throttle::WithoutStore;

use super::{
    value::Value,
    words::{read_policy, read_share, read_time},
};
use crate::{
    Misfit,
    config::{Section, Visitor},
};

/// Reads `value` into `config`, and returns everything that could not be read.
pub(super) fn read(value: Value, config: &mut dyn Section) -> Vec<Misfit> {
    let mut misfits = Vec::new();
    read_section(value, String::new(), config, &mut misfits);
    misfits
}

fn read_section(value: Value, path: String, section: &mut dyn Section, misfits: &mut Vec<Misfit>) {
    let values = match value {
        Value::Section(values) => values,
        // A section without settings, as YAML writes it.
        Value::Nothing => Vec::new(),
        other => {
            let remedy = format!("{other} is no section. Write its settings by their names.");
            let path = if path.is_empty() { "configuration".to_owned() } else { path };
            misfits.push(Misfit::new([path], remedy));
            return;
        }
    };
    let mut reader = Reader { path, values, names: Vec::new(), misfits };
    section.visit_each(&mut reader);
    reader.refuse_the_rest();
}

/// Takes the values of a section by their names.
struct Reader<'a> {
    path: String,
    values: Vec<(String, Value)>,
    names: Vec<&'static str>,
    misfits: &'a mut Vec<Misfit>,
}

impl Reader<'_> {
    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.names.push(name);
        let index = self.values.iter().position(|(found, _)| found == name)?;
        let (_, value) = self.values.remove(index);
        let others = self.values.len();
        self.values.retain(|(found, _)| found != name);
        if self.values.len() < others {
            self.find(name, "The setting stands there twice. Remove one of them.");
        }
        (value != Value::Nothing).then_some(value)
    }

    fn refuse_the_rest(mut self) {
        let names = self.names.join(", ");
        for (name, _) in std::mem::take(&mut self.values) {
            let remedy = format!("There is no such setting. Known are: {names}.");
            self.find(&name, remedy);
        }
    }

    fn find(&mut self, name: &str, remedy: impl Into<String>) {
        let path = self.path_of(name);
        self.misfits.push(Misfit::new([path], remedy));
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Reads a value, or notes what to write in its place.
    fn value<T>(
        &mut self,
        name: &'static str,
        setting: &mut Option<T>,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) {
        if let Some(value) = self.take(name) {
            match read(&value) {
                Ok(read) => *setting = Some(read),
                Err(remedy) => self.find(name, remedy),
            }
        }
    }
}

impl Visitor for Reader<'_> {
    fn section(&mut self, name: &'static str, section: &mut dyn Section) {
        if let Some(value) = self.take(name) {
            let path = self.path_of(name);
            read_section(value, path, section, self.misfits);
        }
    }

    fn time(&mut self, name: &'static str, time: &mut Option<Duration>) {
        self.value(name, time, time_of);
    }

    fn number(&mut self, name: &'static str, number: &mut Option<u32>) {
        self.value(name, number, number_of);
    }

    fn share(&mut self, name: &'static str, share: &mut Option<Ratio>) {
        self.value(name, share, share_of);
    }

    fn shares(&mut self, name: &'static str, shares: &mut Option<Vec<Ratio>>) {
        self.value(name, shares, |value| match value {
            Value::List(list) => list.iter().map(share_of).collect(),
            other => Err(format!("{other} is no list. Write shares such as [\"10%\", \"50%\"].")),
        });
    }

    fn policy(&mut self, name: &'static str, policy: &mut Option<WithoutStore>) {
        self.value(name, policy, policy_of);
    }
}

fn time_of(value: &Value) -> Result<Duration, String> {
    let example = match value {
        Value::Text(text) => match read_time(text) {
            Some(time) => return Ok(time),
            None => "\"30s\", \"250ms\" or \"1m 30s\"".to_owned(),
        },
        Value::Whole(whole @ 0..=999_999_999) => format!("\"{whole}s\" or \"{whole}ms\""),
        _ => "\"30s\", \"250ms\" or \"1m 30s\"".to_owned(),
    };
    Err(format!("{value} is no time. Write a whole number with its unit, such as {example}."))
}

fn number_of(value: &Value) -> Result<u32, String> {
    match value {
        Value::Whole(whole) => u32::try_from(*whole).map_err(|_| {
            format!("{whole} is out of range. Write a whole number from 0 to {}.", u32::MAX)
        }),
        Value::Text(_) => {
            Err(format!("{value} is no whole number. Write one without quotation marks."))
        }
        other => Err(format!("{other} is no whole number. Write one such as 3.")),
    }
}

fn share_of(value: &Value) -> Result<Ratio, String> {
    let share = match value {
        Value::Text(text) => read_share(text),
        Value::Decimal(decimal) if (0.0..=1.0).contains(decimal) => Some(Ratio::of(*decimal)),
        Value::Whole(0) => Some(Ratio::ZERO),
        Value::Whole(1) => Some(Ratio::percent(100)),
        _ => None,
    };
    share.ok_or_else(|| {
        let example = match value {
            Value::Whole(whole @ 2..=100) => format!("\"{whole}%\""),
            _ => "\"20%\" or 0.2".to_owned(),
        };
        format!("{value} is no share. Write it as {example}.")
    })
}

fn policy_of(value: &Value) -> Result<WithoutStore, String> {
    let policy = if let Value::Text(text) = value { read_policy(text) } else { None };
    policy.ok_or_else(|| {
        format!("{value} is no policy. Write \"local_share\", \"fail_open\" or \"fail_closed\".")
    })
}
