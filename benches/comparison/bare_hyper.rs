//! As little as a redirect costs with hyper: a map, and nothing that is recorded.
//!
//! `bare_hyper ADDRESS MAP`, where each line of the map is `/CODE URL`. One thread, hyper as
//! it comes, the same headers as everybody else in `benches/compare`; an unknown code is an
//! empty 404.
#![allow(missing_docs, reason = "not a library")]

use std::collections::HashMap;
use std::convert::Infallible;
use std::error::Error;
use std::rc::Rc;
use std::{env, fs};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, HeaderValue, LOCATION, VARY};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions};
use tokio::task::spawn_local;

type Targets = HashMap<String, HeaderValue>;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(address), Some(map)) = (arguments.next(), arguments.next()) else {
        return Err("an address and a map are needed".into());
    };
    let targets = Rc::new(read(&fs::read_to_string(map)?)?);
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let targets = targets.clone();
            spawn_local(async move {
                let service = service_fn(|request| {
                    let answer = answer(&targets, &request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                // A client that hangs up is no news.
                http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
            });
        }
    })
}

fn read(map: &str) -> Result<Targets, Box<dyn Error>> {
    let pair = |line: &str| {
        let (path, url) = line.split_once(' ').ok_or_else(|| format!("no `/CODE URL`: {line}"))?;
        Ok((path.to_owned(), HeaderValue::from_str(url)?))
    };
    map.lines().map(pair).collect()
}

fn answer(targets: &Targets, request: &Request<Incoming>) -> Response<Empty<Bytes>> {
    let mut answer = Response::new(Empty::new());
    let Some(target) = targets.get(request.uri().path()) else {
        *answer.status_mut() = StatusCode::NOT_FOUND;
        return answer;
    };
    *answer.status_mut() = StatusCode::FOUND;
    let headers = answer.headers_mut();
    headers.insert(LOCATION, target.clone());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("Accept-Language"));
    answer
}
