//! `quorate members` and `quorate views`: who holds each seat, and how that changes.
use crate::{credentials::ForOperators, http, status};
use anyhow::Result;
use clap::Args;
use serde_json::Value;
use std::{fmt::Write, net::SocketAddr};

/// Prints who holds each seat of the cluster, as one replica sees it.
#[derive(Args, Debug)]
pub struct Members {
    /// The replica's admin address.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = status::ADMIN, env = "QUORATE_ADMIN")]
    admin: SocketAddr,
    #[command(flatten)]
    door: ForOperators,
    /// Print all that the replica says, as JSON.
    #[arg(long)]
    json: bool,
}

impl Members {
    /// Prints one line for each seat.
    pub fn run(self) -> Result<()> {
        let answer = http::get_json(self.door.server(status::reachable(self.admin))?, "/members")?;
        if self.json {
            println!("{answer}");
            return Ok(());
        }
        print!("{}", table(&answer));
        Ok(())
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        other => other.to_string(),
    }
}

fn table(answer: &Value) -> String {
    let mut table = format!(
        "{:<5} {:<21} {:<17} {:>11}  role\n",
        "seat", "address", "incarnation", "held before"
    );
    for member in answer["members"].as_array().into_iter().flatten() {
        let leader = if member["leader"] == true {
            ", leader"
        } else {
            ""
        };
        let _ = writeln!(
            table,
            "{:<5} {:<21} {:<17} {:>11}  {}{leader}",
            format!("p{}", text(&member["seat"])),
            text(&member["address"]),
            text(&member["incarnation"]),
            text(&member["held_before"]),
            text(&member["role"]),
        );
    }
    table
}

/// Prints the present view: the epoch, who leads, and who is suspected.
#[derive(Args, Debug)]
pub struct Views {
    /// The replica's admin address.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = status::ADMIN, env = "QUORATE_ADMIN")]
    admin: SocketAddr,
    #[command(flatten)]
    door: ForOperators,
    /// Go on with each view that follows, as it comes.
    #[arg(long)]
    watch: bool,
    /// Print JSON, an object a line.
    #[arg(long)]
    json: bool,
}

impl Views {
    /// Prints one line for each view.
    pub fn run(self) -> Result<()> {
        let admin = self.door.server(status::reachable(self.admin))?;
        let show = |view: &Value| {
            if self.json {
                println!("{view}");
            } else {
                println!("{}", line(view));
            }
        };
        if !self.watch {
            show(&http::get_json(admin, "/views")?);
            return Ok(());
        }
        http::follow(admin, "/views?watch=true", |text| {
            show(&serde_json::from_str(text)?);
            Ok(())
        })
    }
}

fn line(view: &Value) -> String {
    if let Some(missed) = view["missed"].as_u64() {
        return format!("… {missed} views were missed");
    }
    let mut line = format!("epoch {}:", text(&view["epoch"]));
    for member in view["members"].as_array().into_iter().flatten() {
        let _ = write!(line, " p{}", text(&member["seat"]));
        if let Some(before @ 1..) = member["held_before"].as_u64() {
            let _ = write!(line, "#{before}");
        }
    }
    match view["leader"].as_u64() {
        Some(leader) => {
            let _ = write!(line, "; leader p{leader}");
        }
        None => line.push_str("; no leader yet"),
    }
    let suspected = view["suspected"].as_array().into_iter().flatten();
    let suspected: Vec<String> = suspected.map(|rank| format!("p{rank}")).collect();
    if !suspected.is_empty() {
        let _ = write!(line, "; suspects {}", suspected.join(" "));
    }
    line
}

#[cfg(test)]
mod tests;
