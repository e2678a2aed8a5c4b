//! QAF1–3, until they are among the simulator's.
use quorate_core::{Membership, ProcessId, ProcessSet};
use quorate_sim::{
    Completion, Property, Record, Verdict, Violation, properties::Properties, property::Watch,
};
use std::collections::BTreeMap;

/// QAF1–3 of the modules of this name, where calls return at these processes.
pub(crate) fn quorum_access(_: &Membership, module: &str, returning: ProcessSet) -> Properties {
    [1, 2, 3]
        .map(|which| {
            Box::new(Access {
                which,
                returning,
                watch: Watch::new(module),
                requested: 0,
                returned: 0,
                pending: BTreeMap::new(),
            }) as Box<dyn Property>
        })
        .into()
}

struct Access {
    which: u8,
    returning: ProcessSet,
    watch: Watch,
    /// Updates that were requested.
    requested: u64,
    /// Those whose set has returned.
    returned: u64,
    /// Calls: what a set adds, or what a get has to return.
    pending: BTreeMap<(ProcessId, u64), u64>,
}

impl Access {
    fn violated(&self, record: &Record, text: String) -> Result<(), Violation> {
        let (tag, time) = (self.tag().to_owned(), record.time);
        Err(Violation { tag, time, text })
    }
}

impl Property for Access {
    fn tag(&self) -> &'static str {
        ["QAF1", "QAF2", "QAF3"][usize::from(self.which) - 1]
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        if let Some((p, o)) = self.watch.request(record, "Set") {
            self.requested |= o.digest;
            self.pending.insert((p, o.instance.unwrap()), o.digest);
        } else if let Some((p, o)) = self.watch.request(record, "Get") {
            self.pending.insert((p, o.instance.unwrap()), self.returned);
        } else if let Some((p, o)) = self.watch.indication(record, "SetReturn") {
            self.returned |= self.pending.remove(&(p, o.instance.unwrap())).unwrap_or(0);
        } else if let Some((p, o)) = self.watch.indication(record, "GetReturn") {
            let least = self.pending.remove(&(p, o.instance.unwrap())).unwrap_or(0);
            if self.which == 1 && o.digest & !self.requested != 0 {
                return self.violated(record, format!("{p} got what nobody set: {:x}", o.digest));
            }
            if self.which == 2 && least & !o.digest != 0 {
                return self.violated(record, format!("{p} got {:x} without {least:x}", o.digest));
            }
        }
        Ok(())
    }

    fn finish(&mut self, completion: &Completion) -> Verdict {
        if self.which != 3 {
            return Verdict::Holds;
        }
        let judged = |p: ProcessId| completion.correct.contains(p) && self.returning.contains(p);
        let open = self.pending.keys().find(|(p, _)| judged(*p));
        completion.judge(
            "QAF3",
            open.map(|(p, call)| format!("call {call} of {p} does not return")),
        )
    }
}
