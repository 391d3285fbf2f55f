use std::collections::HashSet;

use redis::Value;

use super::slot::SLOTS;

/// Which primary holds which hash slots, sorted by slot.
#[derive(Debug, Default)]
pub(super) struct SlotTable(Vec<Range>);

#[derive(Debug)]
struct Range {
    first: u16,
    last: u16,
    host: String,
    port: u16,
}

impl SlotTable {
    /// Reads the reply of `CLUSTER SLOTS`. `asked` is the host that replied: a server that does not
    /// know its own name leaves it out. `None`: a reply of another form, a table without a slot, or
    /// more than [`MOST_NODES`] servers.
    pub(super) fn read(reply: &Value, asked: &str) -> Option<Self> {
        let Value::Array(ranges) = reply else { return None };
        let mut ranges: Vec<_> =
            ranges.iter().map(|range| Range::read(range, asked)).collect::<Option<_>>()?;
        ranges.sort_unstable_by_key(|range| range.first);
        let table = Self(ranges);
        (1..=MOST_NODES).contains(&table.nodes()).then_some(table)
    }

    /// Returns the host and the port of the primary that holds `slot`.
    pub(super) fn primary(&self, slot: u16) -> Option<(&str, u16)> {
        let after = self.0.partition_point(|range| range.first <= slot);
        let range = self.0.get(after.checked_sub(1)?)?;
        (slot <= range.last).then_some((&*range.host, range.port))
    }

    /// Returns the number of the primaries.
    pub(super) fn nodes(&self) -> usize {
        self.primaries().collect::<HashSet<_>>().len()
    }

    /// Returns the hosts and the ports of all primaries, some of them repeatedly.
    pub(super) fn primaries(&self) -> impl Iterator<Item = (&str, u16)> {
        self.0.iter().map(|range| (&*range.host, range.port))
    }
}

impl Range {
    fn read(range: &Value, asked: &str) -> Option<Self> {
        let Value::Array(parts) = range else { return None };
        let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = &**parts else {
            return None;
        };
        let [host, Value::Int(port), ..] = &**primary else { return None };
        let host = match host {
            Value::Nil => "",
            Value::BulkString(host) => str::from_utf8(host).ok()?,
            Value::SimpleString(host) => host,
            _ => return None,
        };
        let host = if host.is_empty() { asked } else { host }.to_owned();
        let slot = |slot: i64| u16::try_from(slot).ok().filter(|slot| *slot < SLOTS);
        let port = u16::try_from(*port).ok()?;
        let (first, last) = (slot(*first)?, slot(*last)?);
        (first <= last).then_some(Self { first, last, host, port })
    }
}

/// The specification of clusters advises at most 1,000 servers.
const MOST_NODES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: i64, last: i64, host: &str, port: i64) -> Value {
        let host = Value::BulkString(host.into());
        Value::Array(vec![
            Value::Int(first),
            Value::Int(last),
            Value::Array(vec![host, Value::Int(port), Value::BulkString("id".into())]),
        ])
    }

    #[test]
    fn slot_belongs_to_the_primary_of_its_range() {
        let reply = Value::Array(vec![range(8192, 16_383, "b", 2), range(0, 8000, "", 1)]);
        let table = SlotTable::read(&reply, "asked").unwrap();
        assert_eq!(table.primary(0), Some(("asked", 1)));
        assert_eq!(table.primary(8000), Some(("asked", 1)));
        assert_eq!(table.primary(8001), None, "a slot without a primary");
        assert_eq!(table.primary(16_383), Some(("b", 2)));
        assert_eq!(table.primaries().count(), 2);
    }

    #[test]
    fn nonsense_is_no_table() {
        for reply in [
            Value::Nil,
            Value::Int(1),
            Value::Array(Vec::new()),
            Value::Array(vec![Value::Int(1)]),
            Value::Array(vec![range(6, 5, "a", 1)]),
            Value::Array(vec![range(-1, 5, "a", 1)]),
            Value::Array(vec![range(0, 16_384, "a", 1)]),
            Value::Array(vec![range(0, 1, "a", 70_000)]),
        ] {
            assert!(SlotTable::read(&reply, "asked").is_none(), "{reply:?}");
        }
    }

    #[test]
    fn table_of_too_many_servers_is_nonsense() {
        let table = |count| Value::Array((0..count).map(|at| range(at, at, "a", at)).collect());
        let most = i64::try_from(MOST_NODES).unwrap();
        assert!(SlotTable::read(&table(most), "asked").is_some());
        assert!(SlotTable::read(&table(most + 1), "asked").is_none());
    }
}
