use std::time::Duration;

use buttress_control::Ratio;
use buttress_throttle::WithoutStore;

use super::{
    value::Value,
    words::{write_share, write_time},
};
use crate::config::{Section, Visitor};

/// The settings that are set, in words. Sections without settings are left out.
pub(super) fn write(section: &mut dyn Section) -> Value {
    let mut writer = Writer(Vec::new());
    section.visit_each(&mut writer);
    Value::Section(writer.0)
}

struct Writer(Vec<(String, Value)>);

impl Writer {
    fn add(&mut self, name: &str, value: Option<Value>) {
        self.0.extend(value.map(|value| (name.to_owned(), value)));
    }
}

impl Visitor for Writer {
    fn section(&mut self, name: &'static str, section: &mut dyn Section) {
        let section = write(section);
        let is_empty = section == Value::Section(Vec::new());
        self.add(name, (!is_empty).then_some(section));
    }

    fn time(&mut self, name: &'static str, time: &mut Option<Duration>) {
        self.add(name, time.map(|time| Value::Text(write_time(time))));
    }

    fn number(&mut self, name: &'static str, number: &mut Option<u32>) {
        self.add(name, number.map(|number| Value::Whole(number.into())));
    }

    fn share(&mut self, name: &'static str, share: &mut Option<Ratio>) {
        self.add(name, share.map(|share| Value::Text(write_share(share))));
    }

    fn shares(&mut self, name: &'static str, shares: &mut Option<Vec<Ratio>>) {
        let text = |share: &Ratio| Value::Text(write_share(*share));
        let list = |shares: &Vec<Ratio>| Value::List(shares.iter().map(text).collect());
        self.add(name, shares.as_ref().map(list));
    }

    fn policy(&mut self, name: &'static str, policy: &mut Option<WithoutStore>) {
        self.add(name, policy.map(|policy| Value::Text(policy.as_str().to_owned())));
    }
}
