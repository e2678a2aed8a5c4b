use super::*;

fn scan(bytes: &[u8]) -> Result<Scan, Malformed> {
    Scanner::default().scan(bytes, &Limits::CLIENT)
}

#[test]
fn the_end_of_a_request_is_found() {
    let request = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
    let mut longer = request.to_vec();
    longer.extend_from_slice(b"*1\r\n");
    assert_eq!(scan(&longer), Ok(Scan::Array(request.len())));
    assert_eq!(scan(b"PING\r\nPING\r\n"), Ok(Scan::Line(6)));
    assert_eq!(scan(b"PING\nx"), Ok(Scan::Line(5)));
    assert_eq!(scan(b"*0\r\n"), Ok(Scan::Array(4)));
    assert_eq!(scan(b"*-1\r\n"), Ok(Scan::Array(5)));
}

#[test]
fn a_request_may_come_one_byte_at_a_time() {
    let request = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\n\r\n\r\n\r\n";
    let mut scanner = Scanner::default();
    for end in 0..request.len() {
        assert_eq!(
            scanner.scan(&request[..end], &Limits::CLIENT),
            Ok(Scan::Incomplete)
        );
    }
    assert_eq!(
        scanner.scan(request, &Limits::CLIENT),
        Ok(Scan::Array(request.len()))
    );
    let mut scanner = Scanner::default();
    for end in 0..6 {
        assert_eq!(
            scanner.scan(&b"PING\r\n"[..end], &Limits::CLIENT),
            Ok(Scan::Incomplete)
        );
    }
    assert_eq!(
        scanner.scan(b"PING\r\n", &Limits::CLIENT),
        Ok(Scan::Line(6))
    );
}

#[test]
fn limits_are_enforced_before_the_bytes_have_come() {
    assert!(scan(b"*1\r\n$1099511627776\r\n").is_err());
    assert!(scan(b"*1\r\n$-1\r\n").is_err());
    assert!(scan(b"*1099511627776\r\n").is_err());
    assert!(scan(b"*99999999999999999999\r\n").is_err());
    assert!(scan(b"*000000000000000000000000000").is_err());
    assert!(scan(&vec![b'x'; MAXIMUM_LINE + 1]).is_err());
    // Each string is within its limit, but all of them together are not.
    let half = MAXIMUM_BYTES / 2;
    let mut long = format!("*2\r\n${half}\r\n").into_bytes();
    long.resize(long.len() + half, b'x');
    long.extend_from_slice(format!("\r\n${half}\r\n").as_bytes());
    assert!(scan(&long).is_err());
}

#[test]
fn what_is_not_flat_is_refused() {
    assert!(scan(&b"*1\r\n".repeat(100_000)).is_err());
    assert!(scan(b"*1\r\n:1\r\n").is_err());
    assert!(scan(b"*1\r\n$1\r\nabc").is_err());
}

#[test]
fn strangers_may_send_little() {
    let scan = |bytes: &[u8]| Scanner::default().scan(bytes, &Limits::STRANGER);
    let words = |text| Err(Malformed::Words(text));
    let hello = b"*7\r\n$5\r\nHELLO\r\n";
    assert_eq!(scan(hello), Ok(Scan::Incomplete));
    assert_eq!(scan(b"*11\r\n"), words("unauthenticated multibulk length"));
    assert_eq!(scan(b"*2\r\n$16384\r\n"), Ok(Scan::Incomplete));
    assert_eq!(
        scan(b"*2\r\n$16385\r\n"),
        words("unauthenticated bulk length")
    );
    let mut long = b"*3\r\n".to_vec();
    for _ in 0..2 {
        long.extend_from_slice(b"$16384\r\n");
        long.resize(long.len() + 16_384, b'x');
        long.extend_from_slice(b"\r\n");
    }
    assert_eq!(scan(&long), words("too big request"));
    assert_eq!(scan(&vec![b'x'; 16 * 1024]), Ok(Scan::Incomplete));
    assert_eq!(
        scan(&vec![b'x'; 16 * 1024 + 1]),
        words("too big inline request")
    );
}

#[test]
fn who_speaks_tls_to_a_plain_port_is_told_at_once() {
    let hello = [0x16, 3, 1, 2, 0];
    let refused = Scanner::default().scan(&hello, &Limits::CLIENT);
    assert_eq!(
        refused,
        Err(Malformed::Words("this port does not speak TLS"))
    );
}
