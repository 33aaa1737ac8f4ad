//! Passwords and keys that come in files, so that they never stand on a command line.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use hostel_engine::{Class, Error};

/// Crypt's own alphabet, for salts (crypt(5)).
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The hash for /etc/shadow of the password on a file's first line; `-` is standard input.
pub fn hash_file(file: &Path) -> Result<String, Error> {
    let text = if file == Path::new("-") {
        io::read_to_string(io::stdin().lock())
    } else {
        std::fs::read_to_string(file)
    };
    let text = text.map_err(|e| unreadable("password file", file, e))?;
    let password = text.lines().next().unwrap_or("");
    if password.is_empty() {
        return Err(Error::new(
            Class::Usage,
            format!("password file {} has an empty first line", file.display()),
        ));
    }
    hash(password)
}

/// The hash for /etc/shadow of a password.
pub fn hash(password: &str) -> Result<String, Error> {
    let mut salt = [0; 16];
    let random = std::fs::File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut salt));
    random.map_err(|e| Error::new(Class::Failed, "cannot read /dev/urandom").because(e))?;
    let salt: String = salt.iter().map(|b| char::from(ALPHABET[usize::from(b % 64)])).collect();
    sha512_crypt(password, &salt)
}

/// SHA-512 crypt with its default of 5000 rounds: every distribution's login reads it.
pub fn sha512_crypt(password: &str, salt: &str) -> Result<String, Error> {
    let hash = sha_crypt::Sha512Params::new(5000)
        .and_then(|params| sha_crypt::sha512_crypt_b64(password.as_bytes(), salt.as_bytes(), &params))
        .map_err(|e| Error::new(Class::Failed, format!("cannot hash the password: {e:?}")))?;
    Ok(format!("$6${salt}${hash}"))
}

/// The public keys in files of the form of authorized_keys: a key a line, comments and empty lines left out.
pub fn keys(files: &[PathBuf]) -> Result<Vec<String>, Error> {
    let mut keys = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).map_err(|e| unreadable("SSH key file", file, e))?;
        if text.contains("PRIVATE KEY-----") {
            let error = Error::new(Class::Usage, format!("{} holds a private key", file.display()));
            return Err(error.hint(format!("give the public key, most likely {}.pub", file.display())));
        }
        let before = keys.len();
        let lines = text
            .lines()
            .map(str::trim)
            .filter(|l| !l.is_empty() && !l.starts_with('#'));
        keys.extend(lines.map(str::to_owned));
        if keys.len() == before {
            return Err(Error::new(
                Class::Usage,
                format!("SSH key file {} holds no key", file.display()),
            ));
        }
    }
    Ok(keys)
}

fn unreadable(what: &str, file: &Path, error: io::Error) -> Error {
    Error::new(Class::Failed, format!("cannot read {what} {}", file.display())).because(error)
}
