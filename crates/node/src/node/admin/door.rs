//! Who may ask over HTTP: whoever shows a token or a client certificate, if the settings ask for that.
//!
//! `/livez` and `/readyz` are open to all: orchestrators and load balancers ask there, and have no secrets. To those who
//! show nothing they say yes or no, and no reasons.
use crate::doors::{
    hall::Place,
    tokens::{AdminDoor, bearer},
};
use axum::{
    extract::{Extension, Request, State},
    http::{
        StatusCode,
        header::{AUTHORIZATION, WWW_AUTHENTICATE},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep};
use tracing::warn;

/// How much later than a right one a wrong token is answered.
const PENALTY: Duration = Duration::from_secs(1);

/// What is open to all.
const OPEN: [&str; 2] = ["/livez", "/readyz"];

/// Who is at the other end of a connection.
#[derive(Clone)]
pub struct Caller(Arc<Known>);

struct Known {
    from: String,
    certificate: bool,
    place: Mutex<Place>,
}

/// Whether who asks has shown what opens the door.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trusted(pub bool);

impl Caller {
    /// Somebody at this address, who has shown a certificate or not.
    pub fn new(from: String, certificate: bool, place: Place) -> Self {
        let place = Mutex::new(place);
        Caller(Arc::new(Known {
            from,
            certificate,
            place,
        }))
    }

    /// Gives the connection a place that strangers cannot take. Returns `false` if none is free.
    fn admit(&self) -> bool {
        let mut place = self.0.place.lock().unwrap_or_else(PoisonError::into_inner);
        place.admit()
    }
}

/// Lets a request pass, or not.
pub async fn ask(
    State(door): State<Arc<AdminDoor>>,
    Extension(caller): Extension<Caller>,
    mut request: Request,
    next: Next,
) -> Response {
    let shown = request.headers().get(AUTHORIZATION);
    let shown = shown.map(|header| bearer(header.as_bytes()));
    let is_right = matches!(shown, Some(Some(token)) if door.opens(token));
    let trusted = door.is_open() || caller.0.certificate || is_right;
    if !trusted && shown.is_some() {
        if let Some(times) = door.refused.upon_refusal(Instant::now()) {
            let from = &caller.0.from;
            warn!(%from, times, "wrong token for HTTP; said once a second");
        }
        sleep(PENALTY).await;
        return refused("Bearer error=\"invalid_token\"");
    }
    if !trusted && !OPEN.contains(&request.uri().path()) {
        return refused("Bearer");
    }
    if trusted && !caller.admit() {
        let words = "there are too many HTTP connections\n";
        return (StatusCode::SERVICE_UNAVAILABLE, words).into_response();
    }
    request.extensions_mut().insert(Trusted(trusted));
    next.run(request).await
}

fn refused(challenge: &'static str) -> Response {
    let words = "a token is needed, as `Authorization: Bearer TOKEN`, or a client certificate\n";
    let head = [(WWW_AUTHENTICATE, challenge)];
    (StatusCode::UNAUTHORIZED, head, words).into_response()
}
