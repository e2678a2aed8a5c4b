//! Whether everything held, and the table that says so.
use super::{
    client::Client,
    cluster::Cluster,
    load::{Load, Memory, Write},
};
use anyhow::{Context, Result, bail};
use redis_protocol::resp2::types::{BytesFrame, Resp2Frame};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How long the survivors may take to have applied the same.
const SETTLING: Duration = Duration::from_secs(20);

/// Keys that are read at a time.
const READS: usize = 500;

/// The outcome of the demonstration.
pub struct Verdict {
    memory: Memory,
    survivors: Vec<usize>,
    /// Messages and hash on which the survivors agree, or what each of them has.
    sequence: Result<(u64, String), String>,
    /// Acknowledged writes that are not there.
    missing: Vec<String>,
    /// Writes done more than once.
    twice: Vec<String>,
    /// Writes of unknown outcome that were done.
    unknown_done: u64,
    logs: String,
}

impl Verdict {
    /// Reads everything back and compares the survivors.
    pub async fn reach(cluster: &Cluster, load: Load) -> Result<Self> {
        let mut verdict = Verdict {
            memory: load.into_memory(),
            survivors: cluster.survivors().iter().map(|(rank, _)| *rank).collect(),
            sequence: Err(String::new()),
            missing: Vec::new(),
            twice: Vec::new(),
            unknown_done: 0,
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
            && self
                .memory
                .kills
                .iter()
                .all(|kill| kill.recovery().is_some())
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
        for kill in &memory.kills {
            match kill.recovery() {
                Some(time) => println!(
                    "all served again         {:.0} ms after p{} was killed",
                    time.as_secs_f64() * 1000.0,
                    kill.rank
                ),
                None => println!("NOT SERVED AGAIN         after p{} was killed", kill.rank),
            }
        }
        for back in &memory.returns {
            println!(
                "caught up again          p{}, {:.0} ms after it was started again: {} messages, {} keys",
                back.rank,
                back.took.as_secs_f64() * 1000.0,
                back.delivered,
                back.keys
            );
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

/// Waits until the survivors have delivered the same; otherwise says what each has delivered.
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
