//! `users`, `[client_tls]`, `[admin_tls]`, `admin_token_file` and `insecure`: who may come in as a client or an operator.
use crate::{
    doors::{
        tls::TlsFiles,
        tokens::Tokens,
        users::{Digest, Rights, User, Users},
    },
    secret_file,
};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::{Deserialize, Deserializer, de::Error};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// The longest name of a user.
const LONGEST_NAME: usize = 128;

/// A table with the files of a port that speaks TLS, and its flags.
macro_rules! tls_table {
    ($name:ident, $table:literal, $flag:literal, $variable:literal) => {
        #[doc = concat!("The table `[", $table, "]`.")]
        #[derive(Args, Clone, Debug, Default, Deserialize)]
        #[group(id = $table)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            /// The file with the chain of certificates (PEM) with which the port speaks TLS.
            #[arg(
                                                        id = concat!($table, "_certificate"),
                                                        long = concat!($flag, "-certificate"),
                                                        env = concat!($variable, "_CERTIFICATE"),
                                                        value_name = "FILE"
                                                    )]
            certificate: Option<PathBuf>,
            /// The file with its private key (PEM, mode 0600).
            #[arg(
                                                        id = concat!($table, "_key"),
                                                        long = concat!($flag, "-key"),
                                                        env = concat!($variable, "_KEY"),
                                                        value_name = "FILE"
                                                    )]
            key: Option<PathBuf>,
            /// The file with the authorities (PEM) that sign certificates of clients: clients then need one.
            #[arg(
                                                        id = concat!($table, "_client_ca"),
                                                        long = concat!($flag, "-client-ca"),
                                                        env = concat!($variable, "_CLIENT_CA"),
                                                        value_name = "FILE"
                                                    )]
            client_ca: Option<PathBuf>,
        }

        impl $name {
            /// These settings, and where one is not set, that of `below`.
            pub(super) fn over(self, below: Self) -> Self {
                $name {
                    certificate: self.certificate.or(below.certificate),
                    key: self.key.or(below.key),
                    client_ca: self.client_ca.or(below.client_ca),
                }
            }

            /// The same settings, with relative paths taken from the folder of this configuration file.
            pub(super) fn beside(self, file: &Path) -> Self {
                $name {
                    certificate: beside(self.certificate, file),
                    key: beside(self.key, file),
                    client_ca: beside(self.client_ca, file),
                }
            }

            fn complete(self) -> Result<Option<TlsFiles>> {
                complete_tls($table, self.certificate, self.key, self.client_ca)
            }
        }
    };
}

tls_table!(ClientTls, "client_tls", "client-tls", "QUORATE_CLIENT_TLS");
tls_table!(AdminTls, "admin_tls", "admin-tls", "QUORATE_ADMIN_TLS");

fn complete_tls(
    table: &str,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    client_ca: Option<PathBuf>,
) -> Result<Option<TlsFiles>> {
    match (certificate, key, client_ca) {
        (None, None, None) => Ok(None),
        (Some(certificate), Some(key), client_ca) => Ok(Some(TlsFiles {
            certificate,
            key,
            client_ca,
        })),
        (None, _, _) => bail!("`[{table}]`: `certificate` is not set"),
        (_, None, _) => bail!("`[{table}]`: `key` is not set"),
    }
}

/// A relative path, taken from the folder of this configuration file.
pub(super) fn beside(path: Option<PathBuf>, file: &Path) -> Option<PathBuf> {
    let directory = file.parent().unwrap_or(Path::new(""));
    path.map(|path| directory.join(path))
}

/// A table `[users.NAME]`. Its errors repeat no value: that could be a password.
#[derive(Clone, Default)]
pub(super) struct Choice {
    rights: Vec<String>,
    digests: Vec<Digest>,
    file: Option<PathBuf>,
}

/// The table `[users]`.
#[derive(Clone, Default)]
pub(super) struct UserChoices(BTreeMap<String, Choice>);

impl std::fmt::Debug for UserChoices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The strings of a value that is a string or a list of strings.
fn strings(value: toml::Value) -> Option<Vec<String>> {
    let string = |value| match value {
        toml::Value::String(text) => Some(text),
        _ => None,
    };
    match value {
        toml::Value::Array(items) => items.into_iter().map(string).collect(),
        other => string(other).map(|text| vec![text]),
    }
}

impl Choice {
    /// The error is in words that do not quote the value.
    fn from_value(value: toml::Value) -> Result<Self, String> {
        const KNOWN: &str = "`rights`, `password_sha256` and `password_file`";
        let toml::Value::Table(table) = value else {
            return Err(format!("it must be a table with {KNOWN}"));
        };
        let mut choice = Choice::default();
        for (key, value) in table {
            let texts = strings(value);
            let texts = texts.ok_or_else(|| format!("`{key}` must be a string, or some strings"));
            match &key[..] {
                "rights" => choice.rights = texts?,
                "password_sha256" => {
                    let digests = texts?
                        .iter()
                        .map(|text| Digest::from_hexadecimal(text))
                        .collect();
                    let digests: Option<Vec<_>> = digests;
                    choice.digests = digests.ok_or(
                        "`password_sha256` must be 64 hexadecimal digits, or some such strings",
                    )?;
                }
                "password_file" => match &texts?[..] {
                    [path] => choice.file = Some(path.into()),
                    _ => return Err("`password_file` must be one path".into()),
                },
                _ => return Err(format!("there is no key `{key}`: write {KNOWN}")),
            }
        }
        Ok(choice)
    }

    fn complete(self, name: &str) -> Result<User> {
        let mut rights = Rights::default();
        for right in &self.rights {
            let known = Rights::named(right).with_context(|| {
                format!("`users.{name}`: `rights` are some of \"read\", \"write\" and \"admin\"")
            })?;
            rights = rights | known;
        }
        ensure!(
            rights != Rights::default(),
            "`users.{name}`: `rights` is not set: some of \"read\", \"write\" and \"admin\""
        );
        let mut passwords = self.digests;
        if let Some(file) = &self.file {
            let what = || format!("`users.{name}.password_file`");
            for password in secret_file::read_lines(file).with_context(what)? {
                passwords.push(Digest::of(password.as_bytes()));
            }
        }
        ensure!(
            !passwords.is_empty(),
            "`users.{name}`: neither `password_sha256` nor `password_file` is set"
        );
        ensure!(
            !passwords.contains(&Digest::of(b"")),
            "`users.{name}`: `password_sha256` is that of an empty password"
        );
        Ok(User { rights, passwords })
    }
}

impl<'de> Deserialize<'de> for UserChoices {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let toml::Value::Table(table) = toml::Value::deserialize(deserializer)? else {
            return Err(D::Error::custom("`users` must be a table of users"));
        };
        let mut users = BTreeMap::new();
        for (name, value) in table {
            let user = Choice::from_value(value)
                .map_err(|words| D::Error::custom(format!("`users.{name}`: {words}")))?;
            users.insert(name, user);
        }
        Ok(UserChoices(users))
    }
}

impl UserChoices {
    /// The same settings, with relative paths taken from the folder of this configuration file.
    pub(super) fn beside(self, file: &Path) -> Self {
        let users = self.0.into_iter().map(|(name, user)| {
            let user = Choice {
                file: beside(user.file, file),
                ..user
            };
            (name, user)
        });
        UserChoices(users.collect())
    }

    fn complete(self) -> Result<Users> {
        let mut users = BTreeMap::new();
        for (name, user) in self.0 {
            let is_name = !name.is_empty()
                && name.len() <= LONGEST_NAME
                && name.bytes().all(|byte| byte.is_ascii_graphic());
            ensure!(
                is_name,
                "`users`: a name has at most {LONGEST_NAME} visible characters of ASCII"
            );
            let user = user.complete(&name)?;
            users.insert(name, user);
        }
        Ok(Users::new(users))
    }
}

/// Who may come in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Doors {
    /// The users of the port for clients; none: everybody may do everything.
    pub users: Users,
    /// TLS on the port for clients.
    pub client_tls: Option<TlsFiles>,
    /// TLS on the admin port.
    pub admin_tls: Option<TlsFiles>,
    /// The tokens that open the admin port; `None`: everybody may come in, unless certificates are asked for.
    pub tokens: Option<Tokens>,
}

impl Doors {
    pub(super) fn complete(
        users: UserChoices,
        client_tls: ClientTls,
        admin_tls: AdminTls,
        tokens: Option<PathBuf>,
    ) -> Result<Self> {
        let tokens = tokens.map(|file| Tokens::read(&file).context("`admin_token_file`"));
        Ok(Doors {
            users: users.complete()?,
            client_tls: client_tls.complete()?,
            admin_tls: admin_tls.complete()?,
            tokens: tokens.transpose()?,
        })
    }

    /// Checks that no port that others can reach stands open, and that nothing secret would cross a network in clear.
    ///
    /// # Errors
    /// When one does or would; the words name the keys to set.
    pub fn ensure_locked(&self, client: SocketAddr, admin: SocketAddr) -> Result<()> {
        let asks = |tls: Option<&TlsFiles>| tls.is_some_and(|it| it.client_ca.is_some());
        if !is_loopback(client) && !asks(self.client_tls.as_ref()) {
            ensure!(
                !self.users.is_empty(),
                "`client` is {client}, which others may reach, and whoever does could do everything: set `[users]` \
                 and `[client_tls]`, or say `insecure = true`"
            );
            ensure!(
                self.client_tls.is_some(),
                "`client` is {client}, and passwords would cross the network in clear: set `[client_tls]`, or say \
                 `insecure = true`"
            );
        }
        if !is_loopback(admin) && !asks(self.admin_tls.as_ref()) {
            ensure!(
                self.tokens.is_some(),
                "`admin` is {admin}, which others may reach, and whoever does could do everything: set \
                 `admin_token_file` and `[admin_tls]`, or say `insecure = true`"
            );
            ensure!(
                self.admin_tls.is_some(),
                "`admin` is {admin}, and tokens would cross the network in clear: set `[admin_tls]`, or say \
                 `insecure = true`"
            );
        }
        Ok(())
    }
}

/// Whether only this machine reaches the address.
fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

#[cfg(test)]
mod tests;
