//! A file with passwords for PostgreSQL, as libpq reads it (PostgreSQL 15, 34.16): lines of
//! `host:port:database:user:password`, where `*` is anything and `\` stands before a `:` or `\` that is meant.

use super::ledger::{LedgerServer, ServerPlace};

/// The fields of a line; the password takes all that is left.
fn fields(line: &str) -> Option<[String; 5]> {
    let mut all: [String; 5] = Default::default();
    let (mut n, mut chars) = (0, line.chars());
    while let Some(c) = chars.next() {
        match c {
            '\\' => all[n].push(chars.next().unwrap_or('\\')),
            ':' if n < 4 => n += 1,
            c => all[n].push(c),
        }
    }
    (n == 4).then_some(all)
}

impl LedgerServer {
    /// The first password in such a file that is for this server; `None`: there is none.
    pub fn password_in(&self, passfile: &str) -> Option<String> {
        let host = match &self.place {
            ServerPlace::Tls { host, .. } | ServerPlace::Plain { host } => vec![host.clone()],
            ServerPlace::Socket(dir) => vec!["localhost".to_owned(), dir.display().to_string()],
        };
        let is_ours = |[h, port, database, user, _]: &[String; 5]| {
            let is = |field: &str, value: &str| field == "*" || field == value;
            host.iter().any(|host| is(h, host))
                && is(port, &self.port.to_string())
                && is(database, &self.database)
                && is(user, &self.user)
        };
        let lines = passfile.lines().filter(|line| !line.starts_with('#'));
        let found = lines.filter_map(fields).find(is_ours);
        found.map(|[.., password]| password)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_fits() {
        let file = "# comment\n\nbad line\nh:1:d:u:other port\nh:5432:*:u:a\\:b\\\\c:d\n*:*:*:*:any\n";
        let password = |url: &str| url.parse::<LedgerServer>().unwrap().password_in(file);
        assert_eq!(password("postgres://u@h/d").as_deref(), Some("a:b\\c:d"));
        assert_eq!(password("postgres://u@h:1/d").as_deref(), Some("other port"));
        assert_eq!(password("postgres://x@h/d").as_deref(), Some("any"));
        let socket: LedgerServer = "postgres://u@/d?host=/run/pg".parse().unwrap();
        assert_eq!(socket.password_in("localhost:5432:d:u:one").as_deref(), Some("one"));
        assert_eq!(socket.password_in("/run/pg:5432:d:u:two").as_deref(), Some("two"));
        assert_eq!(socket.password_in("h:5432:d:u:three"), None);
    }
}
