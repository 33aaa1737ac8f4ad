//! The metrics by HTTP/1.1: one thread, one page. Each request reads everything anew, and nothing is kept between two.

use std::convert::Infallible;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hostel_engine::{Class, Engine, Error, interrupt};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

use super::text::{Format, Text};
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use hostel_model::definition::Listen;

/// How long one who asks may take in all: nobody holds a place for longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many are heard at once; others wait.
const AT_ONCE: usize = 8;

/// How long Ctrl-C may wait to be heard.
const HEED: Duration = Duration::from_millis(100);

/// Serves until Ctrl-C.
pub fn serve(context: &Context, engine: &Arc<Engine>, listen: &Listen) -> Result<(), Failure> {
    interrupt::watch()?;
    let fail =
        |e: io::Error| Failure::from(Error::new(Class::Failed, format!("cannot serve metrics at {listen}")).because(e));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(fail)?;
    runtime.block_on(async {
        match listen {
            Listen::Unix(path) => {
                let listener = bind(path).map_err(fail)?;
                context.say(&format!("serving metrics at {listen}"));
                let listener = &listener;
                until_interrupted(engine, move || async move {
                    listener.accept().await.map(|(stream, _)| stream)
                })
                .await;
                // Whoever comes next finds nobody behind it; it is removed then if it can't be now.
                let _ = std::fs::remove_file(path);
            }
            Listen::Tcp(address) => {
                let listener = TcpListener::bind(address).await.map_err(fail)?;
                let bound = listener.local_addr().map_err(fail)?;
                context.say(&format!("serving metrics at http://{bound}/metrics"));
                let listener = &listener;
                until_interrupted(engine, move || async move {
                    listener.accept().await.map(|(stream, _)| stream)
                })
                .await;
            }
        }
        Ok::<(), Failure>(())
    })
}

/// A socket of root's alone, from its first moment on: it gets its place when nobody else may use it any more. One that
/// nobody listens on any more is replaced.
fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Ok(there) = std::fs::symlink_metadata(path)
        && (!there.file_type().is_socket() || UnixStream::connect(path).is_ok())
    {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(format!(".{}", std::process::id()));
    let listener = UnixListener::bind(&fresh)?;
    let placed = std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600))
        .and_then(|()| std::fs::rename(&fresh, path));
    if let Err(e) = placed {
        // What can't be removed is removed by nobody, and hinders nobody.
        let _ = std::fs::remove_file(&fresh);
        return Err(e);
    }
    Ok(listener)
}

/// Takes connections and answers each.
async fn until_interrupted<S, F>(engine: &Arc<Engine>, accept: impl Fn() -> F)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = io::Result<S>>,
{
    let places = Arc::new(Semaphore::new(AT_ONCE));
    while !interrupt::raised() {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
            io::Result::Ok((place, accept().await?))
        };
        // Who has gone again, or too many open files: others come, and a pause lets some go.
        match tokio::time::timeout(HEED, next).await {
            Ok(Ok((place, stream))) => {
                let engine = Arc::clone(engine);
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(Arc::clone(&engine), request));
                    let connection = hyper::server::conn::http1::Builder::new()
                        .keep_alive(false)
                        .serve_connection(TokioIo::new(stream), service);
                    // It ended, was cut off, or took too long: nobody is there to be told.
                    let _ = tokio::time::timeout(PATIENCE, connection).await;
                    drop(place);
                });
            }
            Ok(Err(_)) => tokio::time::sleep(HEED).await,
            Err(_) => {}
        }
    }
}

async fn answer(engine: Arc<Engine>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let plain = "text/plain; charset=utf-8";
    let (status, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => {
            let accept = request.headers().get(header::ACCEPT);
            let format = Format::for_who_accepts(accept.and_then(|a| a.to_str().ok()).unwrap_or_default());
            let mut text = Text::new(format);
            match engine.metrics(&mut |family| text.add(family)) {
                Ok(()) => (StatusCode::OK, format.content_type(), text.end()),
                Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, plain, format!("{e}\n")),
            }
        }
        (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, plain, "only GET\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, plain, "see /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    Ok(response)
}
