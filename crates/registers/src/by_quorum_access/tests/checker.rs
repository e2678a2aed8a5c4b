//! NNAR1 and NNAR2, the latter by the order of tags.
use quorate_core::{MessageId, Observation, ProcessId, ProcessSet};
use quorate_sim::{
    Completion, Property, Record, Verdict, Violation, properties::Properties, property::Watch,
};
use std::collections::{BTreeMap, BTreeSet};

/// A tag: 0 of what a register holds before any write.
type Order = (u64, usize);

fn order(id: Option<MessageId>) -> Order {
    id.map_or((0, 0), |id| (id.sequence, id.origin.process.rank()))
}

/// NNAR1, at these processes, and NNAR2.
pub(super) fn shared_register(module: &str, returning: ProcessSet) -> Properties {
    let checker = |is_safety| Checker {
        is_safety,
        returning,
        watch: Watch::new(module),
        pending: BTreeMap::new(),
        newest: BTreeMap::new(),
        values: BTreeMap::new(),
        written: BTreeSet::new(),
    };
    vec![Box::new(checker(false)), Box::new(checker(true))]
}

struct Checker {
    is_safety: bool,
    returning: ProcessSet,
    watch: Watch,
    /// Operations: what a write writes, and the largest tag that had returned on the register.
    pending: BTreeMap<(ProcessId, u64), (Option<u64>, Order)>,
    /// By register: the largest tag that an operation returned.
    newest: BTreeMap<u64, Order>,
    /// By register, tag: the content.
    values: BTreeMap<(u64, Order), u64>,
    /// Tags that writes have returned.
    written: BTreeSet<(u64, Order)>,
}

impl Checker {
    fn upon_return(&mut self, p: ProcessId, o: &Observation) -> Result<(), String> {
        let (object, tag) = (o.object.unwrap(), order(o.message));
        let Some((writes, least)) = self.pending.remove(&(p, o.instance.unwrap())) else {
            return Err("an operation returns twice".to_owned());
        };
        let newest = self.newest.entry(object).or_default();
        *newest = tag.max(*newest);
        if writes.is_some() && !self.written.insert((object, tag)) {
            return Err(format!("two writes have the tag {tag:?}"));
        }
        if tag < least || (writes.is_some() && tag == least) {
            return Err(format!("{tag:?} returns, begun after {least:?} had"));
        }
        let content = writes.unwrap_or(o.digest);
        let known = *self.values.entry((object, tag)).or_insert(content);
        if known != content {
            return Err(format!("the tag {tag:?} stands for two values"));
        }
        Ok(())
    }
}

impl Property for Checker {
    fn tag(&self) -> &'static str {
        if self.is_safety { "NNAR2" } else { "NNAR1" }
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        for label in ["Read", "Write"] {
            if let Some((p, o)) = self.watch.request(record, label) {
                let newest = self.newest.get(&o.object.unwrap()).copied();
                let writes = (label == "Write").then_some(o.digest);
                let pending = (writes, newest.unwrap_or_default());
                self.pending.insert((p, o.instance.unwrap()), pending);
            }
        }
        if let Some((p, o)) = self.watch.indication(record, "Refused") {
            self.pending.remove(&(p, o.instance.unwrap()));
        }
        for label in ["ReadReturn", "WriteReturn"] {
            if let Some((p, o)) = self.watch.indication(record, label) {
                let (p, o) = (p, *o);
                if let Err(text) = self.upon_return(p, &o)
                    && self.is_safety
                {
                    let (tag, time) = (self.tag().to_owned(), record.time);
                    return Err(Violation { tag, time, text });
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, completion: &Completion) -> Verdict {
        if self.is_safety {
            return Verdict::Holds;
        }
        let judged = |p: ProcessId| completion.correct.contains(p) && self.returning.contains(p);
        let open = self.pending.keys().find(|(p, _)| judged(*p));
        let text = open.map(|(p, number)| format!("operation {number} of {p} does not return"));
        completion.judge("NNAR1", text)
    }
}
