use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

type Model = BTreeMap<Vec<u8>, Bytes>;

/// Some keys are short, some are long, in no order.
fn key(number: u16) -> Vec<u8> {
    let mut key = number.to_be_bytes().to_vec();
    key.resize(2 + usize::from(number) * 7919 % 41, 0);
    key
}

fn value(number: u16) -> Bytes {
    Bytes::copy_from_slice(&number.to_le_bytes())
}

fn contents(map: &Ordered) -> Model {
    let pairs = map.pairs().map(|(key, value)| (key.to_vec(), value));
    pairs.collect()
}

/// Checks the invariants of a tree: depths are equal, nodes are neither too wide nor empty, keys stand within
/// their bounds, and the count is right. Returns the depth.
fn check(map: &Ordered) -> usize {
    let keys: Vec<Key> = map.pairs().map(|(key, _)| key).collect();
    assert_eq!(keys.len(), map.len());
    assert!(keys.is_sorted_by(|a, b| **a < **b));
    check_node(&map.root, None, None, true)
}

fn check_node(node: &Node, from: Option<&Key>, to: Option<&Key>, root: bool) -> usize {
    assert!(node.len() <= WIDTH && (root || node.len() > 0));
    match node {
        Node::Leaf { keys, values } => {
            assert_eq!(keys.len(), values.len());
            assert!(keys.iter().all(|k| from.is_none_or(|from| **from <= **k)));
            assert!(keys.iter().all(|k| to.is_none_or(|to| **k < **to)));
            1
        }
        Node::Inner { bounds, children } => {
            assert_eq!(bounds.len() + 1, children.len());
            assert!(!root || children.len() > 1);
            let froms = std::iter::once(from).chain(bounds.iter().map(Some));
            let tos = bounds.iter().map(Some).chain([to]);
            let depths = children.iter().zip(froms.zip(tos));
            let depths: Vec<usize> = depths
                .map(|(child, (from, to))| check_node(child, from, to, false))
                .collect();
            assert!(depths.iter().all(|depth| *depth == depths[0]));
            depths[0] + 1
        }
    }
}

/// How many nodes of a map another map does not share, and how many nodes it has.
fn own_nodes(of: &Node, other: &Ordered) -> usize {
    fn all(node: &Node, found: &mut Vec<*const Node>) {
        found.push(node);
        if let Node::Inner { children, .. } = node {
            for child in children {
                all(child, found);
            }
        }
    }
    let (mut here, mut there) = (Vec::new(), Vec::new());
    all(of, &mut here);
    all(&other.root, &mut there);
    here.iter().filter(|node| !there.contains(node)).count()
}

#[test]
fn keys_in_their_order_fill_the_leaves() {
    let mut map = Ordered::default();
    for number in 0..10_000 {
        map.insert(&key(number), value(number));
    }
    assert_eq!(check(&map), 3);
    let Node::Inner { children, .. } = &*map.root else {
        panic!("one leaf holds no ten thousand keys");
    };
    let leaves: usize = children.iter().map(|child| child.len()).sum();
    assert_eq!(leaves, 10_000_usize.div_ceil(WIDTH));
}

#[test]
fn what_is_emptied_shrinks() {
    let mut map = Ordered::default();
    let numbers = || (0..20_000_u32).map(|number| (number * 7919 % 20_000) as u16);
    for number in numbers() {
        map.insert(&key(number), value(number));
    }
    assert!(check(&map) >= 3);
    for (count, number) in (1..).zip(numbers()) {
        assert_eq!(map.remove(&key(number)), Some(value(number)));
        if count % 1000 == 0 {
            check(&map);
        }
    }
    assert_eq!((check(&map), map.len()), (1, 0));
}

#[test]
fn a_leaf_between_full_ones_may_be_emptied() {
    let mut map = Ordered::default();
    let all = (WIDTH * WIDTH * 2) as u16;
    for number in 0..all {
        map.insert(&key(number), value(number));
    }
    let depth = check(&map);
    for number in WIDTH as u16..all - WIDTH as u16 {
        assert_eq!(map.remove(&key(number)), Some(value(number)));
        check(&map);
    }
    assert_eq!(map.len(), 2 * WIDTH);
    assert!(check(&map) < depth);
}

#[test]
fn a_change_copies_one_path_of_what_a_clone_shares() {
    let mut map = Ordered::default();
    for number in 0..20_000 {
        map.insert(&key(number), value(number));
    }
    let before = map.clone();
    assert_eq!(own_nodes(&map.root, &before), 0);
    let depth = check(&map);
    map.insert(&key(77), value(1));
    map.insert(&key(78), value(1));
    assert_eq!(own_nodes(&map.root, &before), depth);
    // Removing a key that is not in the map copies nothing.
    let again = map.clone();
    assert!(map.remove(&[9; 5]).is_none() && map.get_mut(&[9; 5]).is_none());
    assert_eq!(own_nodes(&map.root, &again), 0);
    // A map that shares no nodes copies none.
    drop((before, again));
    let root = Arc::as_ptr(&map.root);
    map.insert(&key(79), value(1));
    assert_eq!(Arc::as_ptr(&map.root), root);
}

#[derive(Clone, Debug)]
enum Step {
    Set(u16, u16),
    Remove(u16),
    Change(u16, u16),
    /// Clones the map; at most three clones are kept.
    Clone,
    Clear,
}

fn any_step() -> impl Strategy<Value = Step> {
    let number = || 0..2000_u16;
    prop_oneof![
        40 => (number(), any::<u16>()).prop_map(|(k, v)| Step::Set(k, v)),
        30 => number().prop_map(Step::Remove),
        10 => (number(), any::<u16>()).prop_map(|(k, v)| Step::Change(k, v)),
        2 => Just(Step::Clone),
        1 => Just(Step::Clear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_map_is_its_model_and_its_clones_stay_as_they_were(
        begun in 0..2000_u16,
        steps in prop::collection::vec(any_step(), 0..1500),
    ) {
        let (mut map, mut model) = (Ordered::default(), Model::new());
        for number in 0..begun {
            map.insert(&key(number), value(number));
            model.insert(key(number), value(number));
        }
        let mut clones: Vec<(Ordered, Pairs, Model)> = Vec::new();
        for step in steps {
            match step {
                Step::Set(k, v) => {
                    prop_assert_eq!(map.insert(&key(k), value(v)), model.insert(key(k), value(v)));
                }
                Step::Remove(k) => prop_assert_eq!(map.remove(&key(k)), model.remove(&key(k))),
                Step::Change(k, v) => {
                    let (here, there) = (map.get_mut(&key(k)), model.get_mut(&key(k)));
                    prop_assert_eq!(here.is_some(), there.is_some());
                    if let (Some(here), Some(there)) = (here, there) {
                        *here = value(v);
                        *there = value(v);
                    }
                }
                Step::Clone => {
                    if clones.len() == 3 {
                        clones.remove(0);
                    }
                    clones.push((map.clone(), map.pairs(), model.clone()));
                }
                Step::Clear => {
                    map = Ordered::default();
                    model.clear();
                }
            }
        }
        check(&map);
        prop_assert_eq!(map.last_key(), model.keys().last().map(|key| &key[..]));
        prop_assert_eq!(contents(&map), model);
        for (clone, pairs, model) in clones {
            check(&clone);
            prop_assert_eq!(&contents(&clone), &model);
            let pairs: Model = pairs.map(|(key, value)| (key.to_vec(), value)).collect();
            prop_assert_eq!(pairs, model);
        }
    }
}

#[test]
fn keys_are_what_they_are_made_of_however_long() {
    for length in 0..60_u8 {
        let bytes: Vec<u8> = (0..length).collect();
        assert_eq!(*Key::from(&bytes[..]), bytes[..]);
    }
    assert_eq!(size_of::<Key>(), 24);
}
