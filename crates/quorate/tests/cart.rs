//! The example `cart` does what it says.
#[path = "../examples/cart.rs"]
#[expect(dead_code, reason = "its main function prints")]
mod example;

use std::time::Duration;

const TIMEOUT: Duration = Duration::from_mins(2);

#[tokio::test]
async fn who_was_cut_off_joins_again_and_has_the_same_cart() {
    let shop = tokio::time::timeout(TIMEOUT, example::shop());
    let replicas = shop.await.expect("in time").expect("the nodes run");
    assert_eq!(replicas.len(), 3);
    let items = [("apple", 30), ("nut", 1), ("pear", 200), ("plum", 500)];
    let full = example::Cart::from(items.map(|(item, amount)| (item.to_owned(), amount)));
    for replica in &replicas {
        assert_eq!(replica.cart, full);
    }
    assert!(replicas[2].excluded >= 1);
    assert!(replicas[2].restored >= 1);
}
