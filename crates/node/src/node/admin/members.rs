//! Who holds each seat, and every change of that.
use super::Admin;
use axum::{
    Json,
    body::Body,
    extract::{Query, State},
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use futures::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use std::convert::Infallible;
use tokio::sync::broadcast::{Receiver, error::RecvError};

/// `GET /members`.
pub async fn members(State(admin): State<Admin>) -> Json<Value> {
    Json(admin.view.members(&admin.peers))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewsQuery {
    #[serde(default)]
    watch: bool,
}

/// `GET /views`: the present view. With `?watch=true` also each view that follows, one line of JSON each,
/// until the client leaves.
pub async fn views(State(admin): State<Admin>, Query(which): Query<ViewsQuery>) -> Response {
    // The subscription comes first, so that no change is missed before the view is read.
    let changes = admin.view.changes();
    let present = admin.view.present();
    if !which.watch {
        return Json(present).into_response();
    }
    let lines = stream::unfold(Watch::Begins(present, changes), Watch::next);
    let body = Body::from_stream(lines);
    ([(CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

/// The state of a watching client's stream.
enum Watch {
    Begins(Value, Receiver<Value>),
    /// The last view that the client was told, so that it is not told twice.
    Goes(Value, Receiver<Value>),
}

type Line = Result<String, Infallible>;

impl Watch {
    async fn next(self) -> Option<(Line, Watch)> {
        let line = |value: &Value| Ok(format!("{value}\n"));
        let (last, mut changes) = match self {
            Watch::Begins(present, changes) => {
                return Some((line(&present), Watch::Goes(present, changes)));
            }
            Watch::Goes(last, changes) => (last, changes),
        };
        loop {
            match changes.recv().await {
                Ok(view) if view == last => {}
                Ok(view) => return Some((line(&view), Watch::Goes(view, changes))),
                Err(RecvError::Lagged(missed)) => {
                    let words = json!({ "missed": missed });
                    return Some((line(&words), Watch::Goes(last, changes)));
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }
}
