//! Point-to-point messages: p1 asks p2 and p3 in turn, and each answers whoever has asked.
use outside::{Fallible, builders, within};
use quorate::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const QUESTIONS: u64 = 1_000;

#[derive(Serialize, Deserialize, PartialEq, Debug)]
enum Letter {
    Square(u64),
    Is { of: u64, square: u64 },
}

/// Answers questions until the node stops. How many there were.
async fn answer(mail: Sender<Letter>, mut letters: Messages<Letter>) -> Fallible<u64> {
    let mut answered = 0;
    while let Some(arrived) = letters.next().await {
        let (from, letter) = arrived?;
        let Letter::Square(of) = letter else {
            return Err(format!("{from} answers what nobody has asked: {letter:?}").into());
        };
        let square = of * of;
        mail.send(from, Letter::Is { of, square }).await?;
        answered += 1;
    }
    Ok(answered)
}

#[tokio::main]
async fn main() -> Fallible {
    let (mut nodes, mut ends) = (Vec::new(), Vec::new());
    for mut builder in builders("letters", 3)? {
        ends.push(builder.links::<Letter>("mail")?);
        nodes.push(builder.start().await?);
    }
    let clerks: Vec<_> = ends
        .drain(1..)
        .map(|(mail, letters)| tokio::spawn(answer(mail, letters)))
        .collect();
    let (mail, mut answers) = ends.pop().ok_or("p1 has its end")?;
    let asked = [nodes[1].me(), nodes[2].me()];
    let whom = move |number: u64| asked[(number % 2) as usize];

    let asking = tokio::spawn(async move {
        for number in 1..=QUESTIONS {
            mail.send(whom(number), Letter::Square(number)).await?;
        }
        Ok::<_, Error>(())
    });
    let mut known = BTreeMap::new();
    while (known.len() as u64) < QUESTIONS {
        let arrived = within(answers.next()).await?;
        let (from, letter) = arrived.ok_or("the node has stopped")??;
        let Letter::Is { of, square } = letter else {
            return Err(format!("{from} asks: {letter:?}").into());
        };
        assert_eq!(from, whom(of), "who answers the question {of}");
        assert_eq!(square, of * of);
        assert_eq!(known.insert(of, square), None, "an answer comes once");
    }
    within(asking).await???;

    // Streams end when their node stops: then nothing has come that was not read above.
    for node in &nodes {
        within(node.shutdown()).await??;
    }
    assert!(within(answers.next()).await?.is_none());
    for clerk in clerks {
        assert_eq!(within(clerk).await???, QUESTIONS / 2);
    }
    println!(
        "p1 has asked {QUESTIONS} questions, and got each answer once, from whom it had asked"
    );
    Ok(())
}
