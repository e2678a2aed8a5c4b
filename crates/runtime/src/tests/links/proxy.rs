//! A proxy on the path to a process. Tests can reset its connections, or make them silent.
use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

/// A connection that passes through the proxy.
struct Passing {
    here: TcpStream,
    there: TcpStream,
    silent: Arc<AtomicBool>,
}

pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    passing: Arc<Mutex<Vec<Passing>>>,
}

impl Proxy {
    /// Passes connections on to `target`.
    pub(super) fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // The buffer is small, so that a silent connection swallows few bytes.
        socket2::SockRef::from(&listener)
            .set_recv_buffer_size(16 * 1024)
            .unwrap();
        let address = listener.local_addr().unwrap();
        let passing: Arc<Mutex<Vec<Passing>>> = Arc::default();
        let all = passing.clone();
        std::thread::spawn(move || {
            for here in listener.incoming().map_while(Result::ok) {
                if let Ok(there) = TcpStream::connect(target) {
                    all.lock().unwrap().push(pass(here, there));
                }
            }
        });
        Proxy { address, passing }
    }

    /// Resets every connection, at both ends.
    pub(super) fn reset(&self) {
        for Passing { here, there, .. } in self.passing.lock().unwrap().drain(..) {
            for end in [here, there] {
                let _ = socket2::SockRef::from(&end).set_linger(Some(Duration::ZERO));
                let _ = end.shutdown(Shutdown::Both);
            }
        }
    }

    /// Every connection becomes silent: neither end hears anything of the other any more, not even that it
    /// is gone.
    pub(super) fn fall_silent(&self) {
        for passing in self.passing.lock().unwrap().iter() {
            passing.silent.store(true, Relaxed);
        }
    }
}

fn pass(here: TcpStream, there: TcpStream) -> Passing {
    let silent = Arc::new(AtomicBool::new(false));
    for (from, to) in [(&here, &there), (&there, &here)] {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        let silent = silent.clone();
        std::thread::spawn(move || {
            let mut bytes = vec![0; 16 * 1024];
            loop {
                let read = from.read(&mut bytes).unwrap_or(0);
                if silent.load(Relaxed) {
                    return;
                }
                if read == 0 || to.write_all(&bytes[..read]).is_err() {
                    let _ = to.shutdown(Shutdown::Both);
                    let _ = from.shutdown(Shutdown::Both);
                    return;
                }
            }
        });
    }
    Passing {
        here,
        there,
        silent,
    }
}
