//! A PostgreSQL server, by its own protocol (tokio-postgres). Whatever is asked of it ends in time: it may be gone, hang,
//! or be at the other end of a network that is.
//!
//! Types of `tokio-postgres` and `rustls` never leave this folder.

mod tls;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::TryStreamExt;
use hostel_model::definition::{LedgerServer, ServerPlace};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, NoTls, Socket, Statement};

pub use value::{Row, Value};

use crate::{Error, Kind, Result};
use tls::Tls;

/// Where Debian, and whoever takes its packages, keeps the authorities that this host trusts.
const ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// How long connecting may take.
const CONNECTING: Duration = Duration::from_secs(10);

/// How long it may take to say good-bye.
const ENDING: Duration = Duration::from_secs(1);

/// An open connection. After any failure it is good for nothing: open another.
pub struct Session {
    runtime: Runtime,
    /// `None` only while it ends.
    client: Option<Client>,
    talk: Option<JoinHandle<()>>,
    statements: BTreeMap<&'static str, Statement>,
    server: String,
    patience: Duration,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

/// What the server, or the way to it, said.
fn reason(e: &tokio_postgres::Error) -> String {
    if let Some(said) = e.as_db_error() {
        let detail = said.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
        return format!("{}{detail}", said.message());
    }
    let mut text = e.to_string();
    let mut next = std::error::Error::source(e);
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

fn kind(e: &tokio_postgres::Error) -> Kind {
    match e.code() {
        Some(code) if *code == SqlState::DISK_FULL => Kind::NoSpace,
        Some(code) if *code == SqlState::LOCK_NOT_AVAILABLE => Kind::Busy,
        _ => Kind::Failed,
    }
}

/// The password for this server, if a file has one.
fn password(server: &LedgerServer) -> Result<Option<String>> {
    let Some(path) = &server.passfile else {
        return Ok(None);
    };
    let fail = |e| Error::os("read passwords from", path.display(), e);
    let mode = fs::metadata(path).map_err(fail)?.permissions().mode();
    if mode & 0o077 != 0 {
        let error = Error::new(
            "read passwords from",
            path.display(),
            "others than its owner may read it",
        );
        return Err(error.hint(format!("chmod 0600 {}", path.display())));
    }
    let text = fs::read_to_string(path).map_err(fail)?;
    match server.password_in(&text) {
        Some(password) => Ok(Some(password)),
        None => {
            let why = format!("no line of it is for {server} and the user {}", server.user);
            Err(Error::new("read passwords from", path.display(), why))
        }
    }
}

impl Session {
    /// Connects, as `name` in the server's list of who is there. `patience` is how long any answer may take.
    pub fn open(server: &LedgerServer, name: &str, patience: Duration) -> Result<Self> {
        let mut config = Config::new();
        config
            .user(&server.user)
            .dbname(&server.database)
            .port(server.port)
            .application_name(name)
            .connect_timeout(CONNECTING)
            .tcp_user_timeout(patience)
            .keepalives_idle(Duration::from_secs(60))
            .ssl_mode(SslMode::Disable);
        if let Some(password) = password(server)? {
            config.password(password);
        }
        match &server.place {
            ServerPlace::Socket(dir) => config.host_path(dir),
            ServerPlace::Plain { host } => config.host(host),
            ServerPlace::Tls { host, roots } => {
                config.host(host).ssl_mode(SslMode::Require);
                let roots: PathBuf = roots.clone().unwrap_or_else(|| Path::new(ROOTS).to_owned());
                return Self::connect(server, &config, Tls::with_roots(&roots)?, patience);
            }
        };
        Self::connect(server, &config, NoTls, patience)
    }

    fn connect<T>(server: &LedgerServer, config: &Config, tls: T, patience: Duration) -> Result<Self>
    where
        T: MakeTlsConnect<Socket> + 'static,
        T::Stream: Send + 'static,
    {
        let fail = |why: String| Error::new("connect to PostgreSQL,", server, why);
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| fail(e.to_string()))?;
        // The whole of it, with what the server says to begin with, and not just the way there.
        let connecting = runtime.block_on(async { timeout(CONNECTING, config.connect(tls)).await });
        let why = match connecting {
            Ok(Ok((client, connection))) => {
                // What goes wrong there is told to whoever waits for an answer.
                let talk = runtime.spawn(async { drop(connection.await) });
                return Ok(Self {
                    runtime,
                    client: Some(client),
                    talk: Some(talk),
                    statements: BTreeMap::new(),
                    server: server.to_string(),
                    patience,
                });
            }
            Ok(Err(e)) => fail(reason(&e)).kind(kind(&e)),
            Err(_) => fail("it does not answer".to_owned()).kind(Kind::TimedOut),
        };
        // Who looks up its name may hang for longer, and is not waited for.
        runtime.shutdown_background();
        Err(why)
    }

    fn failed(&self, e: &tokio_postgres::Error) -> Error {
        Error::new("use PostgreSQL,", &self.server, reason(e)).kind(kind(e))
    }

    /// Waits for an answer, as long as that may take.
    fn wait<T>(&self, answer: impl Future<Output = std::result::Result<T, tokio_postgres::Error>>) -> Result<T> {
        let waited = self.runtime.block_on(async { timeout(self.patience, answer).await });
        match waited {
            Ok(answer) => answer.map_err(|e| self.failed(&e)),
            Err(_) => {
                let error = Error::new("use PostgreSQL,", &self.server, "it does not answer");
                Err(error.kind(Kind::TimedOut))
            }
        }
    }

    fn client(&self) -> Result<&Client> {
        self.client
            .as_ref()
            .ok_or_else(|| Error::new("use PostgreSQL,", &self.server, "the connection has ended"))
    }

    /// Runs commands that have no parameters and whose answers are of no interest.
    pub fn run(&self, sql: &str) -> Result<()> {
        self.wait(self.client()?.batch_execute(sql))
    }

    /// The statement, made ready when it is first used.
    fn statement(&mut self, sql: &'static str) -> Result<Statement> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.wait(self.client()?.prepare(sql))?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }

    /// Runs a command. How many rows it touched.
    pub fn execute(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<u64> {
        let statement = self.statement(sql)?;
        let values: Vec<_> = values.iter().map(Value::parameter).collect();
        self.wait(self.client()?.execute(&statement, &values))
    }

    /// Shows each row of an answer as it comes.
    pub fn each<E: From<Error>>(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
        see: &mut dyn FnMut(Row) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let statement = self.statement(sql)?;
        let values: Vec<_> = values.iter().map(Value::parameter).collect();
        let rows = self.wait(self.client()?.query_raw(&statement, values))?;
        let mut rows = std::pin::pin!(rows);
        loop {
            match self.wait(rows.try_next())? {
                Some(row) => see(Row::new(row))?,
                None => return Ok(()),
            }
        }
    }

    /// The first row of an answer; `None` if there is none.
    pub fn first(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<Option<Row>> {
        let mut first = None;
        self.each(sql, values, &mut |row| {
            first.get_or_insert(row);
            Ok::<_, Error>(())
        })?;
        Ok(first)
    }
}

impl Drop for Session {
    /// The server is told, so that it doesn't write of a connection that was lost.
    fn drop(&mut self) {
        drop(self.client.take());
        if let Some(talk) = self.talk.take() {
            self.runtime.block_on(async { drop(timeout(ENDING, talk).await) });
        }
    }
}
