//! Checks whether everything held, and prints the table that says so.
use super::{
    client::Client,
    cluster::Cluster,
    load::{Kill, Load, Memory, Write},
};
use anyhow::{Context, Result, bail};
use redis_protocol::resp2::types::{BytesFrame, Resp2Frame};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How long the survivors may take until all have applied the same commands.
const SETTLING: Duration = Duration::from_secs(20);

/// The number of kills up to which each has a line of its own.
const EACH: usize = 3;

/// Keys that are read at a time.
const READS: usize = 500;

/// The outcome of the demonstration.
pub struct Verdict {
    memory: Memory,
    survivors: Vec<usize>,
    /// The number of messages and the hash on which the survivors agree. The error says what each of them
    /// has.
    sequence: Result<(u64, String), String>,
    /// Acknowledged writes that are not in the store.
    missing: Vec<String>,
    /// Writes done more than once.
    twice: Vec<String>,
    /// Writes of unknown outcome that were done.
    unknown_done: u64,
    /// The longest pause that a client may have.
    limit: Option<Duration>,
    logs: String,
}

impl Verdict {
    /// Reads everything back and compares the survivors.
    /// `limit`: the longest pause of a client after a kill that is allowed.
    pub async fn reach(cluster: &Cluster, load: Load, limit: Option<Duration>) -> Result<Self> {
        let mut verdict = Verdict {
            memory: load.into_memory(),
            survivors: cluster.survivors().iter().map(|(rank, _)| *rank).collect(),
            sequence: Err(String::new()),
            missing: Vec::new(),
            twice: Vec::new(),
            unknown_done: 0,
            limit,
            logs: cluster.logs(),
        };
        verdict.read_back(cluster).await?;
        verdict.sequence = settle(cluster).await?;
        Ok(verdict)
    }

    async fn read_back(&mut self, cluster: &Cluster) -> Result<()> {
        let (_, server) = *cluster.survivors().last().context("no survivor")?;
        let mut client = Client::connect(server).await?;
        let mut counters: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        let mut appends = Vec::new();
        let done = self.memory.done.iter().map(|write| (write, true));
        let unknown = self.memory.unknown.iter().map(|write| (write, false));
        for (write, acknowledged) in done.chain(unknown) {
            match write {
                Write::Append { key, value } => appends.push((key.clone(), value, acknowledged)),
                Write::Increment { key } => {
                    let (sure, perhaps) = counters.entry(key.clone()).or_default();
                    *(if acknowledged { sure } else { perhaps }) += 1;
                }
            }
        }
        for some in appends.chunks(READS) {
            let keys = some.iter().map(|(key, ..)| key.clone());
            let values = read(&mut client, keys).await?;
            for ((key, expected, acknowledged), value) in some.iter().zip(values) {
                match value {
                    None if *acknowledged => self.missing.push(key.clone()),
                    None => {}
                    Some(value) if value == **expected => {
                        self.unknown_done += u64::from(!acknowledged);
                    }
                    Some(value) => self.twice.push(format!("{key} is {value:?}")),
                }
            }
        }
        for (key, (sure, perhaps)) in counters {
            let value = read(&mut client, [key.clone()]).await?.pop().flatten();
            let count: u64 = value.as_deref().unwrap_or("0").parse()?;
            if count < sure {
                self.missing
                    .push(format!("{key} is {count}, though {sure} were acknowledged"));
            } else if count > sure + perhaps {
                self.twice.push(format!(
                    "{key} is {count}, though {} were asked",
                    sure + perhaps
                ));
            } else {
                self.unknown_done += count - sure;
            }
        }
        Ok(())
    }

    /// Whether everything held.
    pub fn held(&self) -> bool {
        self.sequence.is_ok()
            && self.missing.is_empty()
            && self.twice.is_empty()
            && self.memory.wrong.is_empty()
            && self.pauses().is_some_and(|pauses| {
                let limit = self.limit.unwrap_or(Duration::MAX);
                pauses.last().is_none_or(|longest| *longest <= limit)
            })
    }

    /// The longest pauses of clients after the kills, in ascending order; `None` if a client still waits.
    fn pauses(&self) -> Option<Vec<Duration>> {
        let pauses = self.memory.kills.iter().map(Kill::recovery);
        let mut pauses: Vec<_> = pauses.collect::<Option<_>>()?;
        pauses.sort();
        Some(pauses)
    }

    fn print_pauses(&self) {
        let Some(pauses) = self.pauses() else {
            println!("NOT SERVED AGAIN         after some of the kills");
            return;
        };
        let count = pauses.len();
        let at = |part: usize| {
            pauses
                .get((count - 1) * part / 100)
                .map_or(0, Duration::as_millis)
        };
        println!(
            "pauses after {count} kills    p50 {} ms, p90 {} ms, max {} ms",
            at(50),
            at(90),
            at(100)
        );
        let back = self.memory.returns.iter().map(|back| back.took).max();
        println!(
            "came back                {} times, in {} ms at most",
            self.memory.returns.len(),
            back.unwrap_or_default().as_millis()
        );
        if let Some(limit) = self.limit.filter(|limit| pauses.last() > Some(limit)) {
            println!(
                "A PAUSE IS TOO LONG      the limit is {} ms",
                limit.as_millis()
            );
        }
    }

    /// Prints the table.
    pub fn print(&self) {
        let memory = &self.memory;
        let milliseconds = |q| memory.latencies.value_at_quantile(q) as f64 / 1000.0;
        let elapsed = memory.ended.duration_since(memory.begun);
        let count = memory.done.len();
        println!(
            "writes acknowledged      {count} in {:.2} s",
            elapsed.as_secs_f64()
        );
        println!(
            "throughput               {:.0} writes/s",
            count as f64 / elapsed.as_secs_f64()
        );
        println!(
            "latency                  p50 {:.2} ms, p99 {:.2} ms, max {:.0} ms",
            milliseconds(0.5),
            milliseconds(0.99),
            milliseconds(1.0)
        );
        if memory.kills.len() > EACH {
            self.print_pauses();
        } else {
            memory.kills.iter().for_each(print_kill);
            for back in &memory.returns {
                println!("came back                {back}");
            }
        }
        println!(
            "outcome unknown          {} writes, of which {} were done",
            memory.unknown.len(),
            self.unknown_done
        );
        match &self.sequence {
            Ok((delivered, hash)) => println!(
                "survivors agree          {} each delivered {delivered} messages, hash {hash}",
                names(&self.survivors)
            ),
            Err(differences) => println!("SURVIVORS DIFFER         {differences}"),
        }
        mistakes("acknowledged and lost", &self.missing);
        mistakes("done twice", &self.twice);
        mistakes("wrong replies", &memory.wrong);
        if !self.held() {
            println!("logs                     {}", self.logs);
        }
    }
}

fn print_kill(kill: &Kill) {
    match kill.recovery() {
        Some(time) => println!(
            "all served again         {:.0} ms after p{} was killed",
            time.as_secs_f64() * 1000.0,
            kill.rank
        ),
        None => println!("NOT SERVED AGAIN         after p{} was killed", kill.rank),
    }
}

fn mistakes(what: &str, mistakes: &[String]) {
    match mistakes.first() {
        None => println!("{what:<24} none"),
        Some(first) => println!("{:<24} {}: {first} …", what.to_uppercase(), mistakes.len()),
    }
}

fn names(ranks: &[usize]) -> String {
    let names: Vec<String> = ranks.iter().map(|rank| format!("p{rank}")).collect();
    names.join(" ")
}

async fn read(
    client: &mut Client,
    keys: impl IntoIterator<Item = String>,
) -> Result<Vec<Option<String>>> {
    let mut words = vec!["MGET".to_owned()];
    words.extend(keys);
    client.send([words.as_slice()]).await?;
    let reply = client.reply().await?;
    let BytesFrame::Array(values) = reply else {
        bail!("MGET was answered {reply:?}");
    };
    Ok(values
        .into_iter()
        .map(|value| {
            value
                .as_bytes()
                .map(|v| String::from_utf8_lossy(v).into_owned())
        })
        .collect())
}

/// Waits until the survivors have delivered the same messages. The inner error says what each has delivered.
async fn settle(cluster: &Cluster) -> Result<Result<(u64, String), String>> {
    let until = Instant::now() + SETTLING;
    loop {
        let mut sequences = Vec::new();
        for (rank, status) in cluster.statuses()? {
            let delivered = status["delivered"].as_u64().context("no count")?;
            let hash = status["hash"].as_str().context("no hash")?.to_owned();
            sequences.push((rank, delivered, hash));
        }
        let (_, delivered, hash) = sequences.first().context("no survivor")?.clone();
        if sequences
            .iter()
            .all(|(_, d, h)| (*d, h) == (delivered, &hash))
        {
            return Ok(Ok((delivered, hash)));
        }
        if Instant::now() >= until {
            let each = sequences
                .iter()
                .map(|(rank, delivered, hash)| format!("p{rank}: {delivered} {hash}"));
            return Ok(Err(each.collect::<Vec<_>>().join(", ")));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
