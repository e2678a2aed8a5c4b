use super::{
    choice::{Choice, Wishes},
    layout::Layout,
    story::{End, Mark, Story},
    *,
};
use crate::testing::p;
use crate::{Crash, Kind, Lose, Timed, Trace, World};
use bytes::Bytes;
use quorate_abstractions::link::{Deliver, Links, SendRequest, To};
use quorate_core::{Addr, Time};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Processes that send to all in turn; p1 crashes with its second copy on the way.
fn chatter(n: usize, turns: u64) -> Trace {
    let latency = Timed::uniform(Duration::from_millis(1), Duration::from_millis(9));
    let mut world = World::new(n, 3, latency).unwrap().keep_trace();
    let mut ports = Vec::new();
    for q in world.processes() {
        let links = world.links(q).at("chat");
        ports.push(links.open(Addr::<Deliver<Bytes>>::nowhere()));
    }
    for turn in 0..turns {
        for (q, port) in (1..).map(p).zip(&ports) {
            let at = Time::from_nanos(5_000_000 * turn + 100_000 * q.rank() as u64);
            let (to, message) = (To::All, Bytes::from_static(b"m"));
            world.request(q, at, port, SendRequest { to, message });
        }
    }
    let lose = Lose::To([p(2)].into_iter().collect());
    world.crash(p(1), Crash::before_output(3).losing(lose));
    world.pause(
        p(2),
        Time::from_nanos(6_000_000),
        Some(Time::from_nanos(7_000_000)),
    );
    let until = Some(Time::from_nanos(8_000_000));
    world.cut((p(2), p(3)), Time::from_nanos(2_000_000), until);
    world.run();
    world.trace()
}

fn read(trace: &Trace, n: usize) -> (Story, Layout) {
    let choice = Choice::of(trace, Wishes::default());
    let story = Story::read(trace, n, &choice, 2000);
    let layout = Layout::of(&story, 0.0);
    (story, layout)
}

#[test]
fn points_of_a_process_stand_apart_and_arrows_fall() {
    let trace = chatter(5, 8);
    let (story, layout) = read(&trace, 5);
    assert!(story.points.len() > 100, "{} points", story.points.len());
    for q in 0..5 {
        let points = story.points.iter().zip(&layout.heights);
        let heights: Vec<_> = points
            .filter_map(|(point, height)| (point.process == q).then_some(*height))
            .collect();
        for pair in heights.windows(2) {
            assert!(pair[1] - pair[0] >= 19.0, "p{}: {pair:?}", q + 1);
        }
    }
    for arrow in &story.arrows {
        if let End::Arrives(point) = arrow.end {
            assert!(layout.heights[point] - layout.heights[arrow.from] >= 14.0);
        }
    }
}

#[test]
fn later_moments_stand_lower() {
    let trace = chatter(3, 3);
    let (story, layout) = read(&trace, 3);
    let mut last = (Time::ZERO, f64::MIN);
    for (point, height) in story.points.iter().zip(&layout.heights) {
        if point.time > last.0 {
            assert!(*height > last.1, "{point:?}");
        }
        last = (point.time, last.1.max(*height));
    }
}

#[test]
fn every_copy_is_an_arrow_and_the_lost_one_says_so() {
    let trace = chatter(3, 2);
    let (story, _) = read(&trace, 3);
    let sends = |kind: &Kind| matches!(kind, Kind::Send { .. });
    let sent = trace.records().iter().filter(|r| sends(&r.kind)).count();
    assert_eq!(story.arrows.len(), sent);
    let lost: Vec<_> = story
        .arrows
        .iter()
        .filter(|arrow| matches!(arrow.end, End::Lost(_)))
        .collect();
    assert_eq!(lost.len(), 1);
    assert_eq!((story.points[lost[0].from].process, lost[0].to), (0, 1));
    let marks: BTreeSet<_> = story
        .points
        .iter()
        .map(|point| format!("{:?}", point.mark))
        .collect();
    for mark in [Mark::Crash, Mark::Pause, Mark::Resume, Mark::Cut, Mark::Dot] {
        assert!(marks.contains(&format!("{mark:?}")), "{mark:?}");
    }
}

#[test]
fn a_picture_is_well_formed_and_white() {
    let trace = chatter(3, 2);
    let svg = Svg::default()
        .title("<b> & \"c\" 'd' \u{0} e")
        .note("a note")
        .draw(&trace, 3);
    assert!(svg.contains("&lt;b&gt; &amp; &quot;c&quot; &#39;d&#39;  e"));
    assert!(svg.contains("fill=\"#ffffff\""));
    for element in ["svg", "g", "text", "title", "defs", "style", "marker"] {
        let opened = svg.matches(&format!("<{element}>")).count()
            + svg.matches(&format!("<{element} ")).count();
        let closed = svg.matches(&format!("</{element}>")).count();
        assert_eq!(opened, closed, "{element}");
        assert!(opened > 0, "{element}");
    }
    assert!(!svg.contains("NaN") && !svg.contains("inf"));
}

#[test]
fn a_picture_says_how_much_it_leaves_out() {
    let trace = chatter(3, 9);
    let svg = Svg::default().points(10).draw(&trace, 3);
    assert!(svg.contains("records more are not shown."));
    assert!(!Svg::default().draw(&trace, 3).contains("not shown"));
    // An empty trace has a picture, too.
    assert!(Svg::default().draw(&Trace::default(), 3).contains("p3"));
}

/// An entry of a ShiViz log: process, clock, text.
type Entry = (String, BTreeMap<String, u64>, String);

/// Reads a log as ShiViz does: `(?<host>\S*) (?<clock>{.*})\n(?<event>.*)`.
fn parse(log: &str) -> Vec<Entry> {
    let lines: Vec<_> = log.lines().collect();
    assert!(lines.len().is_multiple_of(2));
    let read = |pair: &[&str]| {
        let (host, clock) = pair[0].split_once(' ').unwrap();
        let entries = clock
            .strip_prefix('{')
            .and_then(|c| c.strip_suffix('}'))
            .unwrap();
        let entry = |entry: &str| {
            let (name, count) = entry.trim().split_once(':').unwrap();
            (name.trim_matches('"').to_owned(), count.parse().unwrap())
        };
        let clock = entries.split(',').map(entry).collect();
        (host.to_owned(), clock, pair[1].to_owned())
    };
    lines.chunks(2).map(read).collect()
}

#[test]
fn the_clocks_of_the_log_are_vector_clocks() {
    let trace = chatter(3, 9);
    let entries = parse(&ShiViz::default().write(&trace, 3));
    // Each event adds one to its own entry, and its clock includes that of the event before at its process.
    let mut last: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for (host, clock, event) in &entries {
        let before = last.insert(host.clone(), clock.clone()).unwrap_or_default();
        assert_eq!(
            clock[host],
            before.get(host).unwrap_or(&0) + 1,
            "{host} {event}"
        );
        assert!(before.iter().all(|(name, count)| clock[name] >= *count));
    }
    // The clock of an arrival includes that of its sending, and has more of its own process.
    let shown = |kind: &Kind| !matches!(kind, Kind::Drop { .. } | Kind::Duplicate { .. });
    let records = trace.records().iter().filter(|record| {
        let hidden = matches!(record.kind, Kind::Event(_) | Kind::Effect(_));
        !hidden && shown(&record.kind)
    });
    let (mut sent, mut received) = (BTreeMap::new(), 0);
    for (record, (host, clock, event)) in records.zip(&entries) {
        assert_eq!(&record.process.to_string(), host);
        match &record.kind {
            Kind::Send { message, .. } => {
                assert!(event.starts_with("send chat "), "{event}");
                sent.insert(*message, clock);
            }
            Kind::Receive { message, .. } => {
                received += 1;
                assert!(event.starts_with("receive chat "), "{event}");
                let sent = sent[message];
                assert!(sent.iter().all(|(name, count)| clock[name] >= *count));
                assert!(clock[host] > *sent.get(host).unwrap_or(&0));
            }
            _ => {}
        }
    }
    assert!(received > 10);
}
